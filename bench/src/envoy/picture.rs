//! The CPU time of each way as a picture, for the documentation.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{Measured, Way};

/// A bar for each way.
pub(super) fn draw(results: &[Measured]) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/envoy.svg");
    draw_to(&file, results).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))?;
    println!("  drawn in target/envoy.svg");
    Ok(())
}

fn draw_to(file: &Path, results: &[Measured]) -> Result<(), Box<dyn std::error::Error>> {
    let bars: Vec<(&Measured, f64)> = results
        .iter()
        .filter(|result| result.way != Way::Nothing)
        .map(|result| (result, result.beyond(results).max(0.0)))
        .collect();
    let most = bars.iter().map(|(_, more)| *more).fold(8.0, f64::max);
    let area = SVGBackend::new(file, (760, 60 + 34 * u32::try_from(bars.len())?)).into_drawing_area();
    area.fill(&WHITE)?;
    let title = "microseconds of CPU that a token adds to each request";
    area.draw(&Text::new(title, (180, 12), ("sans-serif", 15)))?;
    for (nth, (result, more)) in (0..).zip(&bars) {
        let top = 44 + 34 * nth;
        let is_ours = matches!(result.way, Way::Ours | Way::OursByHost | Way::OursInCluster);
        let color = if is_ours { Palette99::pick(1) } else { Palette99::pick(0) };
        let end = 180 + (more / most * 480.0) as i32;
        area.draw(&Text::new(result.way.title(), (12, top + 3), ("sans-serif", 14)))?;
        area.draw(&Rectangle::new([(180, top), (end, top + 20)], color.filled()))?;
        area.draw(&Text::new(format!("{more:.1}"), (end + 8, top + 3), ("sans-serif", 14)))?;
    }
    Ok(area.present()?)
}
