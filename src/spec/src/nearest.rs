//! The known word that a mistyped one was meant to be.

/// How many candidates are compared: a list of the file's own names can be long.
const MAX_CANDIDATES: usize = 100;

/// The candidate nearest to `text`, where one is near enough to be worth naming: at most a third of the letters differ.
pub(super) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name of this length is not a typing error, and the distance takes time in the square of it.
    if text.len() > 40 {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let lower = plain(text);
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .map(|candidate| (distance(&lower, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(lower.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The suggestion for a mistyped word.
pub(super) fn did_you_mean<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(text, words).map(|near| format!("did you mean `{near}`?"))
}

/// Edit distance: insertions, deletions, replacements, and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (row, x) in a.chars().enumerate() {
        let mut line = vec![row + 1];
        let mut left = row + 1;
        for (column, y) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = (left + 1).min(at(&above, column + 1) + 1).min(at(&above, column) + usize::from(x != *y));
            let swapped = column > 0 && last == Some(*y) && b.get(column - 1) == Some(&x);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
            left = best;
        }
        before = std::mem::replace(&mut above, line);
        last = Some(x);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn distances() {
        for (a, b, steps) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("image", "image", 0),
            ("iamge", "image", 1),
            ("imge", "image", 1),
            ("images", "image", 1),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(a, b), steps, "{a} {b}");
        }
    }

    /// Each single slip in a key leads back to it, and a distance is the same both ways and 0 only for equal words.
    #[test]
    fn one_slip_is_found_again() {
        let keys: BTreeSet<&str> = crate::keys::entries().iter().map(|entry| entry.row.about().name).collect();
        assert!(keys.len() <= MAX_CANDIDATES, "{}: compare table by table", keys.len());
        for key in keys.iter().filter(|key| key.len() > 3) {
            for at in 0..key.len() {
                let mut dropped = (*key).to_owned();
                dropped.remove(at);
                let mut doubled = (*key).to_owned();
                doubled.insert(at, 'x');
                for slip in [dropped, doubled, key.to_uppercase()] {
                    let found = nearest(&slip, keys.iter().copied()).unwrap();
                    assert!(distance(&slip, found) <= 1 || found == *key, "{slip} gave {found}, not {key}");
                }
            }
            for other in &keys {
                assert_eq!(distance(key, other), distance(other, key));
                assert_eq!(distance(key, other) == 0, key == other);
            }
        }
    }

    #[test]
    fn nearest_returns_none_without_a_similar_name() {
        assert_eq!(nearest("zzz", ["image", "user"]), None);
        assert_eq!(nearest(&"image".repeat(100), ["image"]), None);
        assert_eq!(nearest("", ["image"]), None);
        assert_eq!(nearest("read-only", ["read_only", "restart"]), Some("read_only"));
    }
}
