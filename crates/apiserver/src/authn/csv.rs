//! CSV as Go's `encoding/csv` reads it.

/// The records of a text, empty lines left out; the error is Go's.
pub(super) fn records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let text = text.replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1, column: 1 };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        if reader.take('\n') {
            continue;
        }
        records.push(reader.record()?);
    }
    Ok(records)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    /// In bytes, from 1.
    column: usize,
}

impl Reader<'_> {
    fn record(&mut self) -> Result<Vec<String>, String> {
        let start = self.line;
        let mut fields = Vec::new();
        loop {
            fields.push(if self.take('"') { self.quoted(start)? } else { self.plain(start)? });
            if !self.take(',') {
                self.take('\n');
                return Ok(fields);
            }
        }
    }

    fn plain(&mut self, start: usize) -> Result<String, String> {
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let field = self.rest[..end].to_owned();
        if let Some(at) = field.find('"') {
            self.skip(at);
            return Err(self.error(start, "bare \" in non-quoted field"));
        }
        self.skip(end);
        Ok(field)
    }

    fn quoted(&mut self, start: usize) -> Result<String, String> {
        const WRONG: &str = "extraneous or missing \" in quoted-field";
        let mut field = String::new();
        loop {
            let Some(end) = self.rest.find('"') else {
                self.skip(self.rest.len());
                return Err(self.error(start, WRONG));
            };
            field.push_str(&self.rest[..end]);
            self.skip(end);
            let at = (self.line, self.column);
            self.take('"');
            match self.rest.chars().next() {
                Some('"') => {
                    field.push('"');
                    self.take('"');
                }
                None | Some(',' | '\n') => return Ok(field),
                Some(_) => {
                    (self.line, self.column) = at;
                    return Err(self.error(start, WRONG));
                }
            }
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest.starts_with(wanted);
        if found {
            self.skip(wanted.len_utf8());
        }
        found
    }

    fn skip(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        match passed.rfind('\n') {
            None => self.column += bytes,
            Some(last) => {
                self.line += passed.matches('\n').count();
                self.column = bytes - last;
            }
        }
        self.rest = rest;
    }

    fn error(&self, start: usize, why: &str) -> String {
        let at = format!("parse error on line {}, column {}: {why}", self.line, self.column);
        if start == self.line { at } else { format!("record on line {start}; {at}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_go_reads_them() {
        let table: [(&str, Result<&[&[&str]], &str>); 10] = [
            ("", Ok(&[])),
            ("a,b\nc", Ok(&[&["a", "b"], &["c"]])),
            ("\n\na,b\r\n\nc,\n", Ok(&[&["a", "b"], &["c", ""]])),
            ("a,\"b,c\",d", Ok(&[&["a", "b,c", "d"]])),
            ("\"a \"\"b\"\"\nc\",d\ne", Ok(&[&["a \"b\"\nc", "d"], &["e"]])),
            (" a, b", Ok(&[&[" a", " b"]])),
            ("a,b\"c", Err("parse error on line 1, column 4: bare \" in non-quoted field")),
            ("x\na,\"b\"c", Err("parse error on line 2, column 5: extraneous or missing \" in quoted-field")),
            ("a,\"b", Err("parse error on line 1, column 5: extraneous or missing \" in quoted-field")),
            (
                "\"a\nb\"c",
                Err("record on line 1; parse error on line 2, column 2: extraneous or missing \" in quoted-field"),
            ),
        ];
        for (text, expected) in table {
            let found = records(text);
            let found = found.as_ref().map(|all| all.iter().map(|r| r.iter().map(String::as_str).collect()).collect());
            let expected = expected.map(|all| all.iter().map(|record| record.to_vec()).collect::<Vec<_>>());
            assert_eq!(found.map_err(String::as_str), expected, "{text:?}");
        }
    }
}
