//! `facelatch train --report`: how training went, as a page with its curves and a table of all classifiers.

use super::{Report, head::HeadReport};
use crate::{
    Error,
    evaluate::{
        charts::curves,
        html::{Chart, Page, Table},
    },
    report::percent,
    train::Tried,
};

/// The page; `all` are all classifiers on the same folds.
///
/// # Errors
/// [`Error::Bug`] if a chart cannot be drawn.
pub(super) fn page(report: &Report, all: &[Tried]) -> Result<String, Error> {
    let mut tables = vec![comparison(all)];
    let mut charts = vec![];
    if let Some(head) = &report.head {
        tables.push(settings(head));
        charts = curves_of(head)?;
    }
    Ok(Page {
        title: "Training",
        about: report.to_string(),
        tables,
        charts,
        couples: vec![],
    }
    .to_html())
}

fn comparison(all: &[Tried]) -> Table {
    let row = |one: &Tried| {
        let cross = &one.cross_validation;
        vec![
            one.config.to_string(),
            percent(cross.accuracy),
            format!("{} of {}", cross.correct, cross.tried),
            format!("{} of {}", cross.refused, cross.strangers),
            format!("{:.2}", one.seconds),
        ]
    };
    Table {
        title: "All classifiers on the same folds",
        columns: [
            "classifier",
            "right person",
            "templates left out",
            "strangers refused",
            "seconds",
        ]
        .map(str::to_owned)
        .into(),
        rows: all.iter().map(row).collect(),
    }
}

fn settings(head: &HeadReport) -> Table {
    let config = &head.config;
    let rows = [
        ("numbers", config.dims.to_string()),
        ("margin", config.margin.to_string()),
        ("most epochs", config.epochs.to_string()),
        ("epochs without progress", config.patience.to_string()),
        ("people in a batch", config.people.to_string()),
        ("templates of each", config.each.to_string()),
        ("others in a batch", config.others.to_string()),
        ("step length", config.rate.to_string()),
        ("drawn back to the start", config.decay.to_string()),
        ("whitening of the start", config.whitening.to_string()),
        ("seed", config.seed.to_string()),
    ];
    Table {
        title: "Settings of the head",
        columns: ["setting", "value"].map(str::to_owned).into(),
        rows: rows
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect(),
    }
}

fn curves_of(head: &HeadReport) -> Result<Vec<Chart>, Error> {
    let at = |i: usize, value: f64| (i as f64 + 1.0, value);
    let epochs = || head.curve.iter().enumerate();
    let loss: Vec<_> = epochs().map(|(i, e)| at(i, e.loss)).collect();
    let start = (0.0, head.start_loss);
    let held = std::iter::once(start).chain(epochs().map(|(i, e)| at(i, e.held_out_loss)));
    let active: Vec<_> = epochs().map(|(i, e)| at(i, e.active)).collect();
    let tmr: Vec<_> = epochs().map(|(i, e)| at(i, e.held_out_tmr)).collect();
    Ok(vec![
        Chart {
            title: "Triplet loss",
            text: format!(
                "Blue: mean loss of the pairs trained on, with semi-hard negatives. Orange: of the people left out, with the \
                 nearest ones. Epoch {} was kept.",
                head.best_epoch
            ),
            svg: curves(&[loss, held.collect()], "epoch", "loss")?,
        },
        Chart {
            title: "Pairs with a semi-hard negative",
            text: "Share of the pairs trained on that still had something to learn.".to_owned(),
            svg: curves(&[active], "epoch", "share")?,
        },
        Chart {
            title: "People left out",
            text: format!(
                "Share of their genuine pairs accepted at FMR {}; {} by the network alone.",
                head.held_out.fmr,
                percent(head.held_out.tmr_network)
            ),
            svg: curves(&[tmr], "epoch", "TMR")?,
        },
    ])
}
