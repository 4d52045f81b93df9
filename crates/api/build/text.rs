//! The schema text, line by line, as it is written: names are not looked up yet.

/// Everything read so far.
#[derive(Default)]
pub(crate) struct Source {
    pub(crate) groups: Vec<Group>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) types: Vec<Type>,
}

pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) priority: i32,
    pub(crate) versions: Vec<(String, i32, bool)>,
}

pub(crate) struct Resource {
    /// File it stands in: where its kind is looked up.
    pub(crate) file: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) words: Vec<String>,
    pub(crate) selects: Vec<String>,
    pub(crate) subresources: Vec<Vec<String>>,
}

pub(crate) struct Type {
    pub(crate) file: String,
    pub(crate) package: String,
    pub(crate) name: String,
    pub(crate) kinds: Vec<[String; 3]>,
    pub(crate) words: Vec<String>,
    pub(crate) fields: Vec<Field>,
    /// Path and constant as JSON.
    pub(crate) defaults: Vec<(String, String)>,
}

pub(crate) struct Field {
    pub(crate) number: u16,
    pub(crate) name: String,
    pub(crate) inline: bool,
    pub(crate) proto_only: bool,
    pub(crate) ty: String,
    pub(crate) pointer: bool,
    pub(crate) required: bool,
    pub(crate) words: Vec<String>,
    /// Published default, as JSON.
    pub(crate) declared: Option<String>,
    /// Default that is only filled in, as JSON.
    pub(crate) filled: Option<String>,
}

/// The group's name as tables have it: the core group is nameless.
pub(crate) fn group_name(word: &str) -> String {
    if word == "core" { String::new() } else { word.to_owned() }
}

/// `group/version/Kind`.
pub(crate) fn gvk(text: &str) -> [String; 3] {
    let parts: Vec<&str> = text.split('/').collect();
    assert!(parts.len() == 3, "{text} is not group/version/Kind");
    [group_name(parts[0]), parts[1].to_owned(), parts[2].to_owned()]
}

impl Source {
    /// Reads one file.
    pub(crate) fn read(&mut self, file: &str, text: &str) -> Result<(), String> {
        let mut header = Header::default();
        let mut block = Block::None;
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let read = match line.strip_prefix("  ") {
                Some(inner) => self.inner(block, inner.trim_start()),
                None => self.outer(&mut header, &mut block, file, line),
            };
            read.map_err(|why| format!("line {}: {why}", at + 1))?;
        }
        Ok(())
    }

    fn outer(&mut self, header: &mut Header, block: &mut Block, file: &str, line: &str) -> Result<(), String> {
        let mut words = words(line)?;
        let head = words.remove(0);
        match head.as_str() {
            "package" => header.package.clone_from(&words[0]),
            "group" if file == "groups" => {
                *block = Block::Group;
                let priority = words.get(1).map_or(Ok(0), |n| n.parse()).map_err(|e| format!("{e}"))?;
                self.groups.push(Group { name: group_name(&words[0]), priority, versions: Vec::new() });
            }
            "group" => (header.group, header.version) = (group_name(&words[0]), words[1].clone()),
            "resource" => {
                *block = Block::Resource;
                let (group, version) = (header.group.clone(), header.version.clone());
                let file = file.to_owned();
                self.resources.push(Resource { file, group, version, words, selects: vec![], subresources: vec![] });
            }
            "kind" | "type" => {
                *block = Block::Type;
                self.types.push(header.ty(file, head == "kind", words));
            }
            _ => return Err(format!("{head} is not a statement")),
        }
        Ok(())
    }

    fn inner(&mut self, block: Block, line: &str) -> Result<(), String> {
        match block {
            Block::None => return Err("stands in no block".into()),
            Block::Group => {
                let words = words(line)?;
                let priority = words.get(1).and_then(|n| n.parse().ok()).unwrap_or(0);
                let on = !words.iter().any(|w| w == "off");
                let group = self.groups.last_mut().expect("the block is a group");
                group.versions.push((words[0].clone(), priority, on));
            }
            Block::Resource => {
                let mut words = words(line)?;
                let resource = self.resources.last_mut().expect("the block is a resource");
                match words[0].strip_prefix('/').map(str::to_owned) {
                    Some(name) => {
                        words[0] = name;
                        resource.subresources.push(words);
                    }
                    None => resource.selects = words.split_off(1),
                }
            }
            Block::Type => {
                let ty = self.types.last_mut().expect("the block is a type");
                match line.strip_prefix("default ") {
                    Some(rest) => {
                        let (path, value) = rest.split_once(" := ").ok_or("a default needs :=")?;
                        ty.defaults.push((path.trim().to_owned(), value.trim().to_owned()));
                    }
                    None => ty.fields.push(field(line)?),
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Block {
    None,
    Group,
    Resource,
    Type,
}

#[derive(Default)]
struct Header {
    package: String,
    group: String,
    version: String,
}

impl Header {
    fn ty(&self, file: &str, is_kind: bool, mut words: Vec<String>) -> Type {
        let name = words.remove(0);
        let given = words.iter().find_map(|w| w.strip_prefix("as="));
        let kinds = match (given, is_kind) {
            (Some(list), _) => list.split(',').map(gvk).collect(),
            (None, true) => vec![[self.group.clone(), self.version.clone(), name.clone()]],
            (None, false) => vec![],
        };
        let (file, package) = (file.to_owned(), self.package.clone());
        Type { file, package, name, kinds, words, fields: vec![], defaults: vec![] }
    }
}

/// `2 name [Type]?! word word(...) = 1`
fn field(line: &str) -> Result<Field, String> {
    let (line, filled) = cut(line, " := ");
    let (line, declared) = cut(line, " = ");
    let mut words = words(line)?;
    let number = match words.remove(0).as_str() {
        "-" => 0,
        n => n.parse().map_err(|_| format!("{n} is not a field number"))?,
    };
    let (mut name, mut ty) = (words.remove(0), String::new());
    let inline = name.starts_with("...");
    if inline {
        ty = name[3..].to_owned();
        name.clear();
    } else if words.is_empty() {
        return Err("a field needs a type".into());
    } else {
        std::mem::swap(&mut ty, &mut words[0]);
        words.remove(0);
    }
    let proto_only = name.starts_with('(');
    if proto_only {
        name = name.trim_matches(['(', ')']).to_owned();
    }
    let required = ty.ends_with('!');
    let pointer = ty.trim_end_matches('!').ends_with('?');
    let ty = ty.trim_end_matches(['!', '?']).to_owned();
    Ok(Field { number, name, inline, proto_only, ty, pointer, required, words, declared, filled })
}

fn cut<'a>(line: &'a str, mark: &str) -> (&'a str, Option<String>) {
    match line.split_once(mark) {
        Some((head, tail)) => (head, Some(tail.trim().to_owned())),
        None => (line, None),
    }
}

/// Words of a line; spaces inside parentheses and quotes don't part words.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut found = vec![];
    let (mut depth, mut quoted, mut word) = (0, false, String::new());
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if c == ' ' && depth == 0 && !quoted {
            if !word.is_empty() {
                found.push(std::mem::take(&mut word));
            }
        } else {
            word.push(c);
        }
    }
    if depth != 0 || quoted {
        return Err("unbalanced parentheses or quotes".into());
    }
    if !word.is_empty() {
        found.push(word);
    }
    Ok(found)
}

/// The words between the parentheses of `name(a "b c")`, quotes taken off.
pub(crate) fn arguments(word: &str) -> Vec<String> {
    let Some((_, inner)) = word.split_once('(') else { return vec![] };
    let inner = inner.strip_suffix(')').expect("checked when the line was cut");
    words(inner)
        .expect("checked when the line was cut")
        .into_iter()
        .map(|w| if w.starts_with('"') { w.trim_matches('"').to_owned() } else { w })
        .collect()
}
