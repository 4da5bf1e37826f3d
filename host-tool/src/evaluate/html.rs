//! An evaluation as one HTML page that needs nothing else: figures, charts, a map of the embeddings, the worst cases with
//! their photos.

use std::fmt::Write as _;

use data_encoding::BASE64;

/// A table: its heading, column names, and rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Heading.
    pub title: &'static str,
    /// Column names.
    pub columns: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// A chart with its heading and what it shows, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Heading.
    pub title: &'static str,
    /// What it shows, also for those who do not see it.
    pub text: String,
    /// The drawing.
    pub svg: String,
}

/// Two photos, what they are, and their distance.
#[derive(Debug, Clone, PartialEq)]
pub struct Couple {
    /// Caption.
    pub text: String,
    /// JPEG bytes; `None` if a photo could not be read again.
    pub jpegs: [Option<Vec<u8>>; 2],
}

/// All of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Heading.
    pub title: &'static str,
    /// What was measured on.
    pub about: String,
    /// Figures.
    pub tables: Vec<Table>,
    /// Charts.
    pub charts: Vec<Chart>,
    /// Headings and worst cases.
    pub couples: Vec<(&'static str, Vec<Couple>)>,
}

const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 0 0 1rem }
th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #8885 }
td { font-variant-numeric: tabular-nums }
figure { margin: 0 0 2rem }
figure svg { max-width: 100%; height: auto; border-radius: 6px }
.couples { display: flex; flex-wrap: wrap; gap: 1rem }
.couples figure { width: 15rem; margin: 0 }
.couples img { width: 7rem; height: 7rem; object-fit: cover; border-radius: 6px }
figcaption { font-size: .85rem }
pre { white-space: pre-wrap }
";

impl Page {
    /// The page's text.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width\">\n<title>Facelatch: {title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n\
             <pre>{}</pre>\n",
            escape(&self.about),
            title = escape(self.title)
        );
        for table in &self.tables {
            table.write(&mut html);
        }
        for chart in &self.charts {
            put(
                &mut html,
                format_args!("<h2>{}</h2>\n<figure>\n", escape(chart.title)),
            );
            // Named for those who do not see it.
            let label = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(&chart.text));
            html += &chart.svg.replacen("<svg ", &label, 1);
            put(
                &mut html,
                format_args!(
                    "<figcaption>{}</figcaption>\n</figure>\n",
                    escape(&chart.text)
                ),
            );
        }
        for (title, couples) in &self.couples {
            put(
                &mut html,
                format_args!("<h2>{}</h2>\n<div class=\"couples\">\n", escape(title)),
            );
            for couple in couples {
                couple.write(&mut html);
            }
            html += "</div>\n";
        }
        html += "</html>\n";
        html
    }
}

impl Table {
    fn write(&self, html: &mut String) {
        put(
            html,
            format_args!("<h2>{}</h2>\n<table>\n<tr>", escape(self.title)),
        );
        for column in &self.columns {
            put(
                html,
                format_args!("<th scope=\"col\">{}</th>", escape(column)),
            );
        }
        *html += "</tr>\n";
        for row in &self.rows {
            *html += "<tr>";
            for cell in row {
                put(html, format_args!("<td>{}</td>", escape(cell)));
            }
            *html += "</tr>\n";
        }
        *html += "</table>\n";
    }
}

impl Couple {
    fn write(&self, html: &mut String) {
        *html += "<figure>";
        for jpeg in &self.jpegs {
            match jpeg {
                Some(jpeg) => put(
                    html,
                    format_args!(
                        "<img alt=\"\" src=\"data:image/jpeg;base64,{}\">",
                        BASE64.encode(jpeg)
                    ),
                ),
                None => *html += "<span>(photo is gone)</span>",
            }
        }
        put(
            html,
            format_args!("<figcaption>{}</figcaption></figure>\n", escape(&self.text)),
        );
    }
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = html.write_fmt(text);
}

/// Text as text: names of people and files are not ours.
fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            match c {
                '&' => out += "&amp;",
                '<' => out += "&lt;",
                '>' => out += "&gt;",
                '"' => out += "&quot;",
                '\'' => out += "&#39;",
                c => out.push(c),
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup_and_nothing_is_fetched() {
        let nasty = "<script src=\"http://example.org\">'&";
        let page = Page {
            title: "P",
            about: nasty.to_owned(),
            tables: vec![Table {
                title: "T",
                columns: vec![nasty.to_owned()],
                rows: vec![vec![nasty.to_owned()]],
            }],
            charts: vec![Chart {
                title: "C",
                text: nasty.to_owned(),
                svg: "<svg width=\"1\"></svg>".to_owned(),
            }],
            couples: vec![(
                "W",
                vec![Couple {
                    text: nasty.to_owned(),
                    jpegs: [Some(vec![1, 2]), None],
                }],
            )],
        };
        let html = page.to_html();
        assert!(!html.contains("<script") && !html.contains("'&<"), "{html}");
        assert_eq!(html.matches("&lt;script src=&quot;").count(), 6, "{html}");
        assert!(html.contains("data:image/jpeg;base64,AQI="));
        assert!(!html.contains("src=\"http"));
    }
}
