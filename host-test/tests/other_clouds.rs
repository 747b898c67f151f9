//! Tokens of Azure as proof to other clouds, and in files for proxies: `examples/other-clouds` with their real clients.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test runs programs")]

#[path = "other_clouds/aws.rs"]
mod aws;
#[path = "other_clouds/google.rs"]
mod google;
#[path = "other_clouds/proxies.rs"]
mod proxies;
#[path = "other_clouds/proxy.rs"]
mod proxy;
#[path = "other_clouds/stage.rs"]
mod stage;
#[path = "other_clouds/sts.rs"]
mod sts;

/// The page is read before the examples are, and copied from.
#[test]
fn the_page_shows_parts_of_the_examples_as_they_are() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/other-clouds.md")).unwrap();
    for (language, file) in [
        ("json", "google.json"),
        ("ini", "aws.ini"),
        ("yaml", "envoy.yaml"),
        ("yaml", "envoy-token.yaml"),
        ("caddyfile", "Caddyfile"),
        ("apache", "apache.conf"),
    ] {
        let (example, fence) = (stage::example(file), format!("\n```{language}\n"));
        let shown = page.split(&*fence).skip(1).map(|rest| trimmed(rest.split("\n```").next().unwrap()));
        let is_part = |block: Vec<&str>| trimmed(&example).windows(block.len()).any(|part| part == block);
        assert!(shown.into_iter().any(is_part), "the page does not show {file} as it is");
    }
}

fn trimmed(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}
