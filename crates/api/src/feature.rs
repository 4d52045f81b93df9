//! Upstream's feature gates: their names, and what `--feature-gates` may say of them (component-base
//! `featuregate/feature_gate.go`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// How ripe a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Off unless asked for.
    Alpha,
    /// Mostly on.
    Beta,
    /// On; the gate goes soon.
    Stable,
    /// Goes soon.
    Deprecated,
}

impl Stage {
    /// As metrics name it.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
            Stage::Stable => "",
            Stage::Deprecated => "DEPRECATED",
        }
    }
}

/// One feature gate of 1.36.
#[derive(Debug)]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// How ripe it is.
    pub stage: Stage,
    /// Its state when nothing is said.
    pub default: bool,
    /// Whether nothing else may be said.
    pub locked: bool,
    /// Gates that must be on where it is.
    pub needs: Vec<&'static str>,
}

/// The gates that stand for all of a stage.
const GROUPS: [(&str, Stage); 2] = [("AllAlpha", Stage::Alpha), ("AllBeta", Stage::Beta)];

static ALL: LazyLock<Vec<Gate>> = LazyLock::new(|| {
    let lines = include_str!("feature/gates.txt").lines();
    lines.filter(|line| !line.starts_with('#')).map(Gate::read).collect()
});

/// All of them, by name.
pub fn all() -> &'static [Gate] {
    &ALL
}

/// The gate of a name.
pub fn find(name: &str) -> Option<&'static Gate> {
    let at = ALL.binary_search_by_key(&name, |gate| gate.name).ok()?;
    ALL.get(at)
}

impl Gate {
    fn read(line: &'static str) -> Self {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (name, stage, default) = (word(), word(), word());
        let rest: Vec<&str> = words.collect();
        let needs = rest.iter().find_map(|word| word.strip_prefix("needs="));
        Gate {
            name,
            stage: match stage {
                "alpha" => Stage::Alpha,
                "beta" => Stage::Beta,
                "ga" => Stage::Stable,
                _ => Stage::Deprecated,
            },
            default: default == "on",
            locked: rest.contains(&"locked"),
            needs: needs.into_iter().flat_map(|names| names.split(',')).collect(),
        }
    }
}

/// The state of all gates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Those that are not as they are by default.
    changed: BTreeMap<&'static str, bool>,
}

impl Gates {
    /// From words such as `WatchList=false`, for a program that can do without its default state only for the gates
    /// that are `switchable`. The errors are upstream's, but for that of a gate that is not.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>, switchable: &[&str]) -> Result<Self, String> {
        let typed = typed(words)?;
        let mut changed = BTreeMap::new();
        for (name, stage) in GROUPS {
            if let Some(on) = typed.get(name).copied() {
                let others = ALL.iter().filter(|gate| gate.stage == stage);
                changed.extend(others.map(|gate| (gate.name, on)));
            }
        }
        changed.extend(&typed);
        changed.retain(|name, on| find(name).is_some_and(|gate| gate.default != *on));
        let gates = Gates { changed };
        gates.check_needs()?;
        let is_fixed = |name: &&&'static str| !switchable.contains(*name) && GROUPS.iter().all(|(all, _)| all != *name);
        match gates.changed.keys().filter(is_fixed).collect::<Vec<_>>().as_slice() {
            [] => Ok(gates),
            fixed => Err(unable(&typed, fixed)),
        }
    }

    /// Whether a feature is on.
    pub fn is_on(&self, name: &str) -> bool {
        let default = || find(name).is_some_and(|gate| gate.default);
        self.changed.get(name).copied().unwrap_or_else(default)
    }

    /// All gates and their states, by name.
    pub fn states(&self) -> impl Iterator<Item = (&'static Gate, bool)> {
        all().iter().map(|gate| (gate, self.changed.get(gate.name).copied().unwrap_or(gate.default)))
    }

    fn check_needs(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        for (gate, _) in self.states().filter(|(_, on)| *on) {
            let off: Vec<&str> = gate.needs.iter().filter(|name| !self.is_on(name)).copied().collect();
            if !off.is_empty() {
                let (name, off) = (gate.name, off.join(" "));
                wrong.push(format!("{name} is enabled, but depends on features that are disabled: [{off}]"));
            }
        }
        aggregate(wrong)
    }
}

/// What was said of each gate; the last word counts.
fn typed<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<BTreeMap<&'static str, bool>, String> {
    let mut typed = BTreeMap::new();
    for word in words.into_iter().filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let (name, value) = (name.trim(), value.trim());
        if !word.contains('=') {
            return Err(format!("missing bool value for {name}"));
        }
        let on = parse_bool(value).map_err(|why| format!("invalid value of {name}={value}, err: {why}"))?;
        typed.insert(name, on);
    }
    let mut wrong = Vec::new();
    let mut known = BTreeMap::new();
    for (name, on) in typed {
        let gate = find(name).ok_or_else(|| format!("unrecognized feature gate: {name}"))?;
        if gate.locked && gate.default != on {
            wrong.push(format!("cannot set feature gate {name} to {on}, feature is locked to {}", gate.default));
        }
        known.insert(gate.name, on);
    }
    aggregate(wrong)?;
    Ok(known)
}

/// Says of which gates the state that was asked for is not there, and which word asked for it.
fn unable(typed: &BTreeMap<&'static str, bool>, fixed: &[&&'static str]) -> String {
    let named: Vec<String> = fixed
        .iter()
        .filter_map(|name| {
            typed.get(**name).map(|on| {
                format!("cannot set feature gate {name} to {on}, which is not implemented here: leave it out")
            })
        })
        .collect();
    if !named.is_empty() {
        return named.join("; ");
    }
    let groups: Vec<String> =
        GROUPS.iter().filter_map(|(name, _)| typed.get(name).map(|on| format!("{name}={on}"))).collect();
    let names = fixed.iter().map(|name| **name).collect::<Vec<_>>().join(", ");
    format!("{} asks for states of feature gates that are not implemented here: {names}", groups.join(" with "))
}

fn aggregate(wrong: Vec<String>) -> Result<(), String> {
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// A switch as Go's `strconv.ParseBool` reads it.
///
/// # Errors
/// Go's.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", crate::field::quoted(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str) -> Result<Vec<(&'static str, bool)>, String> {
        Gates::parse(typed.split(','), &["WatchList", "CBORServingAndStorage"])
            .map(|gates| gates.changed.into_iter().collect())
    }

    #[test]
    fn what_is_said_of_gates() {
        let table: [(&str, Result<Vec<(&str, bool)>, &str>); 17] = [
            ("", Ok(vec![])),
            ("WatchList=false", Ok(vec![("WatchList", false)])),
            ("WatchList=false,WatchList=true", Ok(vec![])),
            (" WatchList = F , APIServerIdentity=true", Ok(vec![("WatchList", false)])),
            ("CBORServingAndStorage=1", Ok(vec![("CBORServingAndStorage", true)])),
            ("AllAlpha=false", Ok(vec![])),
            ("RetryGenerateName=true", Ok(vec![])),
            ("Foo=true", Err("unrecognized feature gate: Foo")),
            ("Foo", Err("missing bool value for Foo")),
            (
                "WatchList=maybe",
                Err("invalid value of WatchList=maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax"),
            ),
            ("WatchList=", Err("invalid value of WatchList=, err: strconv.ParseBool: parsing \"\": invalid syntax")),
            (
                "RetryGenerateName=false",
                Err("cannot set feature gate RetryGenerateName to false, feature is locked to true"),
            ),
            (
                "NodeLogQuery=false,RetryGenerateName=false",
                Err("[cannot set feature gate NodeLogQuery to false, feature is locked to true, cannot set feature \
                     gate RetryGenerateName to false, feature is locked to true]"),
            ),
            (
                "GangScheduling=true",
                Err("GangScheduling is enabled, but depends on features that are disabled: [GenericWorkload]"),
            ),
            (
                "GenericWorkload=true",
                Err("cannot set feature gate GenericWorkload to true, which is not implemented here: leave it out"),
            ),
            (
                "MemoryQoS=true,GracefulNodeShutdown=true,PodsAPI=true",
                Err("cannot set feature gate MemoryQoS to true, which is not implemented here: leave it out; cannot \
                     set feature gate PodsAPI to true, which is not implemented here: leave it out"),
            ),
            ("AllBeta=false,WatchList=true,Nonsense=1", Err("unrecognized feature gate: Nonsense")),
        ];
        for (typed, expected) in table {
            assert_eq!(parse(typed), expected.map_err(str::to_owned), "{typed}");
        }
        let why = parse("AllBeta=true").unwrap_err();
        assert!(why.starts_with("AllBeta=true asks for states") && why.contains("ClusterTrustBundle"), "{why}");
        assert!(parse("AllAlpha=true").unwrap_err().contains("AllAlpha=true asks for states"));
    }

    #[test]
    fn a_stage_at_once_yields_to_what_is_said_of_one() {
        let names: Vec<&str> = all().iter().map(|gate| gate.name).collect();
        let gates = Gates::parse(["AllAlpha=true", "MemoryQoS=false"], &names).unwrap();
        assert!(gates.is_on("AllAlpha") && gates.is_on("PodsAPI") && !gates.is_on("MemoryQoS"));
        assert!(gates.is_on("WatchList"), "another stage");
        let states: BTreeMap<&str, bool> = gates.states().map(|(gate, on)| (gate.name, on)).collect();
        assert_eq!((states["PodsAPI"], states["MemoryQoS"], states.len()), (true, false, all().len()));
        assert!(!Gates::default().is_on("PodsAPI") && !Gates::default().is_on("nonsense"));
    }

    #[test]
    fn the_table_is_upstreams() {
        assert!(all().is_sorted_by_key(|gate| gate.name));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/feature-gates.json");
        let Ok(text) = std::fs::read_to_string(path) else { return eprintln!("skipped: no {path}") };
        let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
        let list = |key: &str| reference[key].as_array().unwrap().clone();
        let theirs: Vec<serde_json::Value> = [list("gates"), list("groupGates")].concat();
        assert_eq!(theirs.len(), all().len());
        for theirs in theirs {
            let name = theirs["name"].as_str().unwrap();
            let ours = find(name).unwrap_or_else(|| panic!("{name} is missing"));
            let stage = match theirs["stage"].as_str().unwrap() {
                "GA" => String::new(),
                stage => stage.to_uppercase(),
            };
            assert_eq!(ours.stage.label(), stage, "{name}");
            let flags = (theirs["default"] == true, theirs["locked"] == true);
            assert_eq!((ours.default, ours.locked), flags, "{name}");
            let needs = theirs["dependsOn"].as_array().cloned().unwrap_or_default();
            assert_eq!(ours.needs, needs.iter().map(|need| need.as_str().unwrap()).collect::<Vec<_>>(), "{name}");
        }
    }
}
