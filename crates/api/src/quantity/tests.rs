use super::parse::{WRONG_FORMAT, WRONG_NUMBER, WRONG_SUFFIX};
use super::{Format, Quantity};
use proptest::prelude::*;

fn q(s: &str) -> Quantity {
    s.parse().unwrap_or_else(|e| panic!("{s}: {e}"))
}

#[test]
fn canonical_texts() {
    let cases = [
        ("0", "0"),
        ("0Ki", "0"),
        ("-0", "0"),
        ("+", "0"),
        (".", "0"),
        ("1", "1"),
        ("007", "007"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1500m", "1500m"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("2.5Gi", "2560Mi"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("1000Ki", "1000Ki"),
        ("1025Ki", "1025Ki"),
        ("1023", "1023"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("100.5Ki", "102912"),
        ("1e3", "1e3"),
        ("1E6", "1E6"),
        ("12e5", "1200e3"),
        ("1.40e9", "1400e6"),
        ("100k", "100k"),
        ("0.1m", "100u"),
        ("3.001n", "4n"),
        ("-3.001n", "-4n"),
        ("0.00000000001", "1n"),
        ("0.000000000001Ki", "2n"),
        ("9Ei", "9223372036854775807"),
        ("1Ei", "1Ei"),
        ("12E", "12E"),
        ("1.", "1."),
        ("1.G", "1.G"),
        (".001", "1m"),
        ("-1.5Gi", "-1536Mi"),
        ("1000E", "1000E"),
        ("123456789012345678901234", "123456789012345678901234"),
    ];
    for (text, canonical) in cases {
        assert_eq!(q(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn refusals() {
    let cases = [
        ("", WRONG_FORMAT),
        (" 1", WRONG_FORMAT),
        ("1 ", WRONG_FORMAT),
        ("1.2.3", WRONG_FORMAT),
        ("five", WRONG_FORMAT),
        ("1mi", WRONG_SUFFIX),
        ("1K", WRONG_SUFFIX),
        ("1e", WRONG_SUFFIX),
        ("1MiB", WRONG_FORMAT),
        ("1m5", WRONG_SUFFIX),
        ("Ei", WRONG_NUMBER),
        ("1é", WRONG_FORMAT),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Quantity>().unwrap_err(), error, "{text}");
    }
}

#[test]
fn numbers() {
    assert_eq!(q("1500m").value(), 2);
    assert_eq!(q("-1500m").value(), -2);
    assert_eq!(q("1").milli_value(), 1000);
    assert_eq!(q("1u").milli_value(), 1);
    assert_eq!(q("1Gi").value(), 1 << 30);
    assert_eq!(q("1000E").value(), i64::MAX);
    assert_eq!(q("-1000E").milli_value(), i64::MIN);
    assert_eq!(q("1e2147483647").value(), i64::MAX);
    assert_eq!(q("1.5Ki").as_i64(), Some(1536));
    assert_eq!(q("1.5").as_i64(), None);
    assert!((q("250m").as_f64() - 0.25).abs() < 1e-12);
    assert_eq!(q("1001u").round_up(-3).to_string(), "2m");
    assert_eq!(q("100m").mul(3).to_string(), "300m");
}

#[test]
fn formats_of_sums() {
    assert_eq!(q("0").add(&q("1Gi")).to_string(), "1Gi");
    assert_eq!(q("1Gi").add(&q("0")).to_string(), "1Gi");
    assert_eq!(q("1Gi").add(&q("1G")).format(), Format::BinarySi);
    assert_eq!(q("0").sub(&q("100m")).to_string(), "-100m");
    assert_eq!(q("2").sub(&q("500m")).to_string(), "1500m");
}

#[test]
fn order() {
    assert!(q("10000T") > q("100Gi"));
    assert!(q("50m") < q("100m"));
    assert!(q("1e2000000000") > q("9Ei"));
    assert!(q("-1e2000000000") < q("1n"));
    assert_eq!(q("1"), q("1000m"));
    assert_eq!(q("1Ki"), q("1.024k"));
}

fn text() -> impl Strategy<Value = String> {
    "[-+]?[0-9]{0,20}(\\.[0-9]{0,12})?(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]|e-[0-9]|E1[0-9])"
}

/// Texts whose sums have room in 38 digits.
fn small() -> impl Strategy<Value = String> {
    "[-+]?[0-9]{0,9}(\\.[0-9]{0,12})?(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]|e-[0-9]|E1[0-9])"
}

proptest! {
    #[test]
    fn canonical_text_means_the_same(s in text()) {
        if let Ok(first) = s.parse::<Quantity>() {
            let second = q(&first.to_string());
            prop_assert_eq!(&first, &second);
            prop_assert_eq!(first.to_string(), second.to_string());
        }
    }

    #[test]
    fn sums_go_back(a in small(), b in small()) {
        if let (Ok(a), Ok(b)) = (a.parse::<Quantity>(), b.parse::<Quantity>()) {
            prop_assert_eq!(&a.add(&b).sub(&b), &a);
            prop_assert_eq!(a.add(&b), b.add(&a));
            prop_assert_eq!(a.cmp(&b), a.sub(&b).signum().cmp(&0));
        }
    }

    #[test]
    fn never_panics(s in "\\PC{0,30}") {
        let _ = s.parse::<Quantity>().map(|q| (q.to_string(), q.value(), q.milli_value(), q.as_f64()));
    }
}
