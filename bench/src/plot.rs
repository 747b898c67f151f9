//! The stampedes as a picture, for the documentation.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::stampede::Stampede;

/// One program's stampedes, by the number of instances.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<Stampede>,
}

/// What is drawn of a stampede.
type Value = fn(&Stampede) -> f64;

/// Two pictures in one, side by side, both axes logarithmic: requests, and the time until the last answer.
pub(crate) fn plot(curves: &[Curve]) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stampede.svg");
    draw(&file, curves).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))?;
    println!("  drawn in target/stampede.svg");
    Ok(())
}

fn draw(file: &Path, curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, (900, 380)).into_drawing_area();
    area.fill(&WHITE)?;
    let halves = area.split_evenly((1, 2));
    let what: [(&str, Value); 2] =
        [("requests sent", |at| at.requests as f64), ("ms until the last is served", |at| at.ms)];
    for (half, (title, value)) in halves.iter().zip(what) {
        let most = curves.iter().flat_map(|curve| &curve.points).map(value).fold(10.0, f64::max);
        let mut chart = ChartBuilder::on(half)
            .caption(title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d((1.0..500.0).log_scale(), (0.8..most * 1.5).log_scale())?;
        chart.configure_mesh().x_desc("instances, cold, all at once").light_line_style(WHITE).draw()?;
        for (index, curve) in curves.iter().enumerate() {
            let style = Palette99::pick(index).stroke_width(2);
            let points = curve.points.iter().map(|at| (at.instances as f64, value(at)));
            let line = LineSeries::new(points, style).point_size(3);
            chart
                .draw_series(line)?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(BLACK)
            .draw()?;
    }
    Ok(area.present()?)
}
