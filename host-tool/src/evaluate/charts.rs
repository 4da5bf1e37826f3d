//! The charts of an evaluation, as SVG text: DET curve, score histogram, map of embeddings.

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, Color, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea,
        IntoLogRange, LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, TextStyle, WHITE,
    },
    style::IntoFont,
};

use crate::{
    Error,
    evaluate::{map::Points, verification::Distances},
};

const SIZE: (u32, u32) = (640, 420);
const BINS: usize = 80;
/// Points of the DET curve.
const STEPS: usize = 400;

/// Colours that stay apart for colour-blind readers (Okabe & Ito 2008); the rest is grey.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const GREY: RGBColor = RGBColor(190, 190, 190);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failed<'a> =
    DrawingAreaErrorKind<<SVGBackend<'a> as plotters::backend::DrawingBackend>::ErrorType>;

/// Draws on a fresh sheet.
fn sheet(paint: impl for<'a> FnOnce(&Area<'a>) -> Result<(), Failed<'a>>) -> Result<String, Error> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let painted = area
            .fill(&WHITE)
            .and_then(|()| paint(&area))
            .and_then(|()| area.present());
        painted.map_err(|error| Error::Bug(format!("a chart could not be drawn: {error}")))?;
    }
    Ok(svg)
}

fn small<'a>() -> TextStyle<'a> {
    ("sans-serif", 13).into_font().into()
}

/// Detection error trade-off: FNMR over FMR, both logarithmic.
///
/// # Errors
/// [`Error::Bug`] if it cannot be drawn.
pub fn det(distances: &Distances) -> Result<String, Error> {
    let (_, impostors) = distances.counts();
    let lowest = (1.0 / impostors.max(10) as f64).max(1e-6);
    let impostor = distances.impostor();
    let points: Vec<(f64, f64)> = (0..=STEPS)
        .filter_map(|step| {
            // Evenly on the logarithmic axis.
            let fmr = lowest.powf(1.0 - step as f64 / STEPS as f64);
            let at = (fmr * impostor.len() as f64) as usize;
            let threshold = impostor.get(at)?;
            Some((
                distances.fmr(*threshold).max(lowest),
                distances.fnmr(*threshold).max(1e-4),
            ))
        })
        .collect();
    sheet(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((lowest..1.0).log_scale(), (1e-4..1.0).log_scale())?;
        chart
            .configure_mesh()
            .label_style(small())
            .x_desc("FMR: impostor pairs accepted")
            .y_desc("FNMR: genuine pairs refused")
            .x_label_formatter(&|v| format!("{v:.0e}"))
            .y_label_formatter(&|v| format!("{v:.0e}"))
            .draw()?;
        chart.draw_series(LineSeries::new(points, COLOURS[0].stroke_width(2)))?;
        Ok(())
    })
}

/// Lines over steps, from 0 up, the first in the first colour; an empty one is left out.
///
/// # Errors
/// [`Error::Bug`] if it cannot be drawn.
pub fn curves(lines: &[Vec<(f64, f64)>], x: &str, y: &str) -> Result<String, Error> {
    let largest = |axis: fn(&(f64, f64)) -> f64| {
        let most = lines.iter().flatten().map(axis).fold(0.0, f64::max);
        // No points, or only zeros, still need an axis.
        if most > 0.0 { most * 1.05 } else { 1.0 }
    };
    let (right, top) = (largest(|p| p.0), largest(|p| p.1));
    sheet(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart
            .configure_mesh()
            .label_style(small())
            .x_desc(x)
            .y_desc(y)
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            chart.draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?;
        }
        Ok(())
    })
}

/// Shares of genuine and impostor pairs by distance.
///
/// # Errors
/// [`Error::Bug`] if it cannot be drawn.
pub fn histogram(distances: &Distances, threshold: Option<f32>) -> Result<String, Error> {
    let farthest = 1.5f64;
    let shares = |all: &[f32]| {
        let mut bins = vec![0usize; BINS];
        for distance in all {
            let bin = f64::from(*distance).max(0.0) / farthest * BINS as f64;
            bins[(bin as usize).min(BINS - 1)] += 1;
        }
        let total = all.len().max(1) as f64;
        bins.into_iter()
            .map(|n| n as f64 / total)
            .collect::<Vec<f64>>()
    };
    let kinds = [
        ("genuine pairs", COLOURS[0], shares(distances.genuine())),
        ("impostor pairs", COLOURS[1], shares(distances.impostor())),
    ];
    let highest = kinds
        .iter()
        .flat_map(|(_, _, bins)| bins)
        .fold(0.01, |a, b| f64::max(a, *b));
    sheet(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..farthest, 0.0..highest * 1.1)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .label_style(small())
            .x_desc("cosine distance")
            .y_desc("share of pairs")
            .draw()?;
        for (name, colour, bins) in kinds {
            let bars = bins.into_iter().enumerate().map(move |(i, share)| {
                let x = |i: usize| i as f64 * farthest / BINS as f64;
                Rectangle::new([(x(i), 0.0), (x(i + 1), share)], colour.mix(0.55).filled())
            });
            chart.draw_series(bars)?.label(name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.mix(0.55).filled())
            });
        }
        if let Some(threshold) = threshold {
            let line = [
                (f64::from(threshold), 0.0),
                (f64::from(threshold), highest * 1.1),
            ];
            chart
                .draw_series(LineSeries::new(line, COLOURS[6].stroke_width(1)))?
                .label("threshold for FMR 1e-3")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 12, y)], COLOURS[6]));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(GREY)
            .label_font(small())
            .draw()
    })
}

/// Points of a plane; `group` gives each point's colour, `None` for grey.
///
/// # Errors
/// [`Error::Bug`] if it cannot be drawn.
pub fn scatter(points: &Points, group: &[Option<usize>]) -> Result<String, Error> {
    let extent = |axis: usize| {
        let values = || points.iter().map(move |point| point[axis]);
        let (low, high) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        // One point, or none, still needs an axis.
        match low < high {
            true => (low - 0.03 * (high - low))..(high + 0.03 * (high - low)),
            false => -1.0..1.0,
        }
    };
    sheet(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .build_cartesian_2d(extent(0), extent(1))?;
        // Grey ones first: below the others.
        for grey in [true, false] {
            let shown = points
                .iter()
                .zip(group)
                .filter(|(_, group)| group.is_none() == grey);
            chart.draw_series(shown.map(|(point, group)| {
                let colour = group.and_then(|group| COLOURS.get(group)).unwrap_or(&GREY);
                Circle::new(
                    (point[0], point[1]),
                    if grey { 2 } else { 4 },
                    colour.mix(0.8).filled(),
                )
            }))?;
        }
        Ok(())
    })
}

/// How many groups have a colour of their own.
#[must_use]
pub fn colours() -> usize {
    COLOURS.len()
}

/// A group's colour in CSS.
#[must_use]
pub fn css(group: usize) -> String {
    let RGBColor(r, g, b) = COLOURS.get(group).copied().unwrap_or(GREY);
    format!("rgb({r},{g},{b})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_are_drawn_from_many_few_and_no_distances() {
        let ramp = |from: f32, n: u32| (0..n).map(|i| from + i as f32 / 1e3).collect::<Vec<f32>>();
        for distances in [
            Distances::new(ramp(0.1, 300), ramp(0.6, 800)),
            Distances::new(vec![0.3], vec![0.9]),
            Distances::new(vec![], vec![]),
        ] {
            for svg in [det(&distances), histogram(&distances, Some(0.4))] {
                let svg = svg.expect("drawn");
                assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            }
        }
        let svg = scatter(&vec![[0.0, 1.0], [2.0, 3.0]], &[None, Some(1)]).expect("drawn");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(scatter(&vec![], &[]).is_ok());
    }
}
