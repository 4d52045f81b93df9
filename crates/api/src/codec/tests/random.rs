//! Objects made at random from the tables come back from every encoding.

use super::*;
use crate::schema::{Alternative, Scalar, Shape, all};
use crate::value::{Key, Object};
use proptest::prelude::*;

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }

    fn object(&mut self, ty: TypeRef<'_>, depth: usize) -> Value {
        let mut object = Object::default();
        let has_type_meta = ty.declared().any(|f| f.is_inline() && f.number() == 0);
        for field in ty.fields() {
            // Only the envelope has a place for these.
            let nested_meta = depth > 0 && has_type_meta && matches!(field.name(), "kind" | "apiVersion");
            let too_deep = depth > 5 && !matches!(field.shape(), Shape::Scalar(_));
            if !nested_meta && !too_deep && self.below(3) == 0 {
                object.0.push((Key::Owned(field.name().to_owned()), self.value(field.shape(), depth)));
            }
        }
        Value::Object(object)
    }

    fn value(&mut self, shape: Shape<'_>, depth: usize) -> Value {
        match shape {
            Shape::Scalar(scalar) => self.scalar(scalar),
            Shape::Struct(ty) => self.object(ty, depth + 1),
            Shape::Either(ty, _) if self.below(2) == 0 => self.object(ty, depth + 1),
            Shape::Either(_, Alternative::Bool) => Value::Bool(self.below(2) == 0),
            Shape::Either(_, Alternative::Strings) => Value::Array(vec![self.scalar(Scalar::String)]),
            Shape::Either(ty, Alternative::List) => Value::Array(vec![self.object(ty, depth + 1)]),
            Shape::List(list) => {
                (0..=self.below(2)).map(|_| self.value(list.item(), depth + 1)).collect::<Vec<_>>().into()
            }
            Shape::Map(map) => {
                let keys = ["z", "a", "", "é", "<"];
                let count = usize::try_from(1 + self.below(4)).expect("a few");
                keys[..count].iter().map(|key| (*key, self.value(map.item(), depth + 1))).collect()
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        match scalar {
            Scalar::String => {
                Value::from(self.pick(&["", "x", "yes", "1.5", "a: b", "é\u{2028}&\"\\", "two\nlines\n", " "]))
            }
            Scalar::Bool => Value::Bool(self.below(2) == 0),
            Scalar::Int32 => Value::Int(i64::from(self.below(1 << 32) as i32)),
            Scalar::Int64 => Value::Int((self.below(u64::MAX) as i64) >> self.below(64)),
            Scalar::Double => Value::Float(self.below(1 << 50) as f64 / 1024.0),
            Scalar::Bytes => Value::from(self.pick(&["", "AA==", "c29tZSBieXRlcw=="])),
            Scalar::Time => Value::from(self.pick(&["1969-12-31T23:59:59Z", "2024-02-29T12:00:00Z"])),
            Scalar::MicroTime => {
                Value::from(self.pick(&["1969-12-31T23:59:59.000001Z", "2024-02-29T12:00:00.999999Z"]))
            }
            Scalar::Duration => Value::from(self.pick(&["0s", "1h30m0.5s", "-2ms"])),
            Scalar::Quantity => Value::from(self.pick(&["0", "100m", "1500m", "1Gi", "12e6"])),
            Scalar::IntOrString if self.below(2) == 0 => Value::Int(80),
            Scalar::IntOrString => Value::from("50%"),
            _ => crate::value!({"a": true, "b": [1, null, {"x": "y"}]}),
        }
    }
}

proptest! {
    #[test]
    fn objects_come_back(seed: u64) {
        let types: Vec<_> = all().filter(|t| t.has_protobuf() && t.kinds().next().is_some()).collect();
        let mut dice = Dice(seed);
        for _ in 0..4 {
            let at = usize::try_from(dice.below(types.len() as u64)).expect("an index");
            let ty = types[at];
            let made = dice.object(ty, 0);
            let (value, strict) = coerce(ty, made).expect("an object of the type");
            prop_assert!(strict.findings.is_empty());

            let (read, _) = decode_json(ty, text(&value).as_bytes()).expect("our own JSON");
            prop_assert_eq!(&read, &value, "{} by JSON", ty.name());

            let mut normal = value.clone();
            ty.normalize(&mut normal);
            prop_assert_eq!(&normal, &value, "{} normalized", ty.name());

            let mut message = vec![];
            write_protobuf(ty, &value, &mut message);
            let read = decode_protobuf(ty, &message).expect("our own protobuf");
            prop_assert_eq!(&read, &value, "{} by protobuf", ty.name());

            let yaml = write_yaml(&value);
            let parsed = parse_yaml(yaml.as_bytes()).map_err(|e| TestCaseError::fail(format!("{e}\n{yaml}")))?;
            let (read, _) = coerce(ty, parsed).expect("our own YAML");
            prop_assert_eq!(&read, &value, "{} by YAML\n{}", ty.name(), yaml);

            let mut once = value.clone();
            ty.default(&mut once);
            let mut twice = once.clone();
            ty.default(&mut twice);
            prop_assert_eq!(&twice, &once, "{} defaulted twice", ty.name());
            ty.normalize(&mut twice);
            prop_assert_eq!(&twice, &once, "{} defaulted and normalized", ty.name());
        }
    }

    #[test]
    fn no_bytes_are_too_odd(bytes: Vec<u8>, cut in 0usize..200) {
        let _ = parse_json(&bytes);
        let _ = decode_json(pod(), &bytes);
        let _ = open_protobuf(&bytes);
        let _ = decode_protobuf_message(pod(), &bytes);
        let whole = br#"{"kind":"Pod","metadata":{"name":"x","labels":{"a":"\u00e9\ud83d\ude00"}},"spec":{"priority":-1.5e3}}"#;
        let _ = decode_json(pod(), &whole[..cut.min(whole.len())]);
    }
}
