//! The pictures of the documentation, each made from a text in `docs/pictures`.

use std::fs;

use anyhow::{Result, anyhow};
use pikchr::{Pikchr, PikchrFlags};

use crate::repo;

/// The SVG of a text in the language Pikchr, <https://pikchr.org>
///
/// The first line of the text, a comment, is the picture's title.
fn drawn(text: &str) -> Result<String> {
    let mut flags = PikchrFlags::default();
    flags.generate_plain_errors();
    let drawn = Pikchr::render(text, None, flags).map_err(|error| anyhow!(error))?;
    let title = text.lines().next().unwrap_or_default().trim_start_matches("// ");
    let (opening, shapes) = drawn.rendered().split_once('>').ok_or_else(|| anyhow!("no SVG"))?;
    // The font of a browser's default is one with serifs, too wide for the boxes.
    let opening = opening.replace(FONT_OF_PIKCHR, "style='font-family:sans-serif'");
    Ok(format!("{opening}><title>{title}</title>{shapes}"))
}

const FONT_OF_PIKCHR: &str = "style='font-size:initial;'";

#[test]
fn each_picture_is_made_from_its_text() {
    let mut pictures = 0;
    for entry in fs::read_dir(repo::path("docs/pictures")).unwrap() {
        let text = entry.unwrap().path();
        if text.extension().is_none_or(|extension| extension != "pikchr") {
            continue;
        }
        let (picture, now) =
            (text.with_extension("svg"), drawn(&fs::read_to_string(&text).unwrap()).unwrap());
        if std::env::var_os("UPDATE_PICTURES").is_some() {
            fs::write(&picture, &now).unwrap();
        }
        let kept = fs::read_to_string(&picture).unwrap_or_default();
        assert!(now == kept, "{picture:?} differs: UPDATE_PICTURES=1 cargo test -p xtask pictures writes it");
        pictures += 1;
    }
    assert!(pictures > 0);
}
