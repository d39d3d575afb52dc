//! Reads files of `NAME=VALUE` lines. It is no shell: nothing in them is expanded or run.

/// The assignments, or the number of the first line that is none. The error holds no text: it may be a secret.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut variables = Vec::new();
    let mut rest = text;
    let line_of = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(variables);
        }
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let here = line_of(rest);
        let assignment = rest.strip_prefix("export ").unwrap_or(rest);
        let (name, after) = assignment.split_once('=').ok_or(here)?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(here);
        }
        let (value, after) = value(after).ok_or(here)?;
        variables.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
}

/// A quoted value may span lines, as a PEM key does. One without quotes ends at a blank, as in a shell.
fn value(text: &str) -> Option<(&str, &str)> {
    let (value, after) = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].split_once(quote)?,
        _ => text.split_at(text.find(char::is_whitespace).unwrap_or(text.len())),
    };
    // Behind it only a comment may follow. A shell would expand these, and the check would see another value than it.
    let (tail, after) = after.split_once('\n').unwrap_or((after, ""));
    let clean = tail.trim_start().is_empty() || tail.trim_start().starts_with('#');
    let plain = text.starts_with('\'') || !value.contains(['$', '`', '\\']);
    (clean && plain).then_some((value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_a_shell_would_read_it() {
        let text = "# head\n\nA=1\nexport B='a b$c'  # tail\nC=\"x\ny\"\nD=\nE=a#b\n";
        let expected = [("A", "1"), ("B", "a b$c"), ("C", "x\ny"), ("D", ""), ("E", "a#b")];
        let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn what_a_shell_would_run_or_expand_is_refused_by_its_line() {
        for line in
            ["A", "A B=1", "=1", "A=$HOME", "A=\"`id`\"", "A=a b", "A='open", "source other", "A=a\\ b"]
        {
            assert_eq!(parse(&format!("X=1\n\n{line}\nY=2\n")), Err(3), "{line}");
        }
    }
}
