//! `casemate image history`.

use super::{entered, opened};
use crate::print;
use crate::{Error, Global, escaped};
use casemate_engine::launch::Role;
use casemate_image::documents::history;
use casemate_image::{Image, store};
use serde::Serialize;

/// Show the build history in an image, newest step first
///
/// A step that made a layer shows the size of its blob. The history is what the image says of itself and proves nothing.
#[derive(Debug, clap::Args)]
pub struct History {
    /// A name, a pin, or at least the first six digits of a digest
    #[arg(value_name = "NAME|DIGEST")]
    image: String,
    /// Show whole commands
    #[arg(long)]
    no_trunc: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    /// Size of the layer's blob in bytes; `null`: the step made no layer.
    bytes: Option<u64>,
    diff_id: Option<String>,
}

impl History {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let (session, _) = entered(global, Role::Store)?;
        session.confine()?;
        let store = opened(&session)?;
        let pin = store::select(&store.all_records()?, &self.image)?.pin;
        let rows = rows(&store.resolve(&pin)?, store.history(&pin)?);
        if self.json { print::json(&rows) } else { print::text(&table(&rows, self.no_trunc)) }
    }
}

/// Newest first. History is optional in an image: a layer without a step has a row of its own.
fn rows(image: &Image, steps: Vec<history::Step>) -> Vec<Row> {
    let mut layers = image.layers.iter();
    let mut rows = Vec::new();
    for step in steps {
        let layer = if step.empty_layer { None } else { layers.next() };
        let history::Step { created, created_by, comment, .. } = step;
        let bytes = layer.map(|layer| layer.size);
        let diff_id = layer.map(|layer| layer.diff_id.to_string());
        rows.push(Row { created, created_by, comment, bytes, diff_id });
    }
    rows.extend(layers.map(|layer| Row {
        created: None,
        created_by: None,
        comment: None,
        bytes: Some(layer.size),
        diff_id: Some(layer.diff_id.to_string()),
    }));
    rows.reverse();
    rows
}

fn table(rows: &[Row], whole: bool) -> String {
    let mut lines = vec![format!("{:<10} {:>9}  CREATED BY\n", "CREATED", "SIZE")];
    for row in rows {
        let created: String = row.created.as_deref().unwrap_or("-").chars().take(10).collect();
        let size = row.bytes.map_or_else(|| "-".to_owned(), print::size);
        let by = escaped(row.created_by.as_deref().or(row.comment.as_deref()).unwrap_or("-"));
        let mut shown: String = by.chars().take(if whole { usize::MAX } else { 57 }).collect();
        if shown.len() < by.len() {
            shown.push('…');
        }
        lines.push(format!("{:<10} {size:>9}  {shown}\n", escaped(&created)));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_image::{ImageConfig, Layer};
    use casemate_wire::Digest;

    #[test]
    fn each_layer_is_shown_with_its_step() {
        let digest = Digest::from_bytes([1; 32]);
        let layer = |size| Layer { blob: digest, size, diff_id: digest, chain_id: digest };
        let layers = vec![layer(1), layer(2), layer(3)];
        let image = Image { manifest: digest, config: ImageConfig::default(), layers, names: Vec::new() };
        let step = |by: &str, empty_layer| history::Step {
            created_by: Some(by.to_owned()),
            empty_layer,
            ..history::Step::default()
        };
        let rows = rows(&image, vec![step("base", false), step("env", true), step(&"x".repeat(200), false)]);
        assert_eq!(rows.iter().map(|row| row.bytes).collect::<Vec<_>>(), [Some(3), Some(2), None, Some(1)]);
        assert!(table(&rows, false).lines().all(|line| line.chars().count() <= 80));
        assert!(table(&rows, true).contains(&"x".repeat(200)));
    }
}
