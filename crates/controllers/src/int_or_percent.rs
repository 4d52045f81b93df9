//! Numbers that may be given as a share of a whole.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The number meant; nothing where the text is no percentage.
pub(crate) fn scaled(value: &IntOrString, whole: i32, round_up: bool) -> Option<i32> {
    match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let product = percent * i64::from(whole);
            let number = if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            i32::try_from(number).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let quarter = IntOrString::String("25%".to_owned());
        assert_eq!((scaled(&quarter, 3, true), scaled(&quarter, 3, false)), (Some(1), Some(0)));
        assert_eq!(scaled(&IntOrString::Int(7), 3, true), Some(7));
        assert_eq!(scaled(&IntOrString::String("7".to_owned()), 3, true), None);
    }
}
