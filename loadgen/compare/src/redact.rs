//! What a report does not repeat of a command line: paths of the machine, and secrets.

/// The options whose values are places of this machine.
const PATHS: &[&str] = &["--out", "--json", "--from", "--peers"];

/// A command line, in which what has a space is within quotes, without paths and secrets.
pub(crate) fn command(line: &str) -> String {
    let mut quoted = false;
    let mut words = line.split(|c: char| {
        quoted ^= c == '\'';
        c == ' ' && !quoted
    });
    let mut shown = Vec::new();
    while let Some(word) = words.next() {
        let bare = word.trim_matches('\'');
        let (name, value) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
        if !PATHS.contains(&name) {
            shown.push(word);
        } else if value.is_none() {
            words.next();
        }
    }
    secrets(&shown.join(" "))
}

/// The line with `***` for each value of `--secret`.
pub(crate) fn secrets(line: &str) -> String {
    let mut follows = false;
    let word = |word: &str| {
        let quote = if word.ends_with('\'') { "'" } else { "" };
        let shown = match word.split_once("--secret=") {
            Some((before, _)) => format!("{before}--secret=***{quote}"),
            None if follows => format!("***{quote}"),
            None => word.to_owned(),
        };
        follows = word.trim_matches('\'') == "--secret";
        shown
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_left_out_whichever_way_they_are_written() {
        let line = "fanfare-loadgen compare --scenario 'rooms --topics 2' --out /a/b.html --json=/a/b.json \
                    '--from=/a c/d' --peers '/a b/c' --rounds 3";
        assert_eq!(command(line), "fanfare-loadgen compare --scenario 'rooms --topics 2' --rounds 3");
    }

    #[test]
    fn secrets_are_masked_within_a_scenario_too() {
        let line =
            "compare --scenario 'fanout --secret s3 --size 99' --scenario 'rooms --secret=s3' --rounds 1";
        let shown =
            "compare --scenario 'fanout --secret *** --size 99' --scenario 'rooms --secret=***' --rounds 1";
        assert_eq!(command(line), shown);
        assert_eq!(secrets("fanout --secret s3"), "fanout --secret ***");
        assert_eq!(command("'rooms --secret s3'"), "'rooms --secret ***'");
        assert_eq!(command(shown), shown, "once more changes nothing");
    }
}
