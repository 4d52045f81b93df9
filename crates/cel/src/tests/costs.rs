//! What expressions cost, and what they may cost at most.

use super::{eval_typed, sample, sample_schema};

#[test]
fn costs_are_counted_as_upstream_counts_them() {
    let (schema, object) = (sample_schema(), sample());
    let mut wrong = Vec::new();
    for (expression, cost, most) in [
        ("true", 0, 0),
        ("self.replicas == 3", 3, 2),
        ("self.replicas + 1 == 4", 4, 4),
        ("has(self.replicas)", 1, 1),
        ("type(self.replicas) == int", 4, 4),
        ("self.name.startsWith('we')", 3, 3),
        ("self.name.matches('^[a-z]*$')", 4, 12),
        ("self.name in ['a', 'b']", 2, 14),
        ("self.names.all(n, n == 'a')", 13, 28),
        ("self.names.exists(n, n == 'a')", 12, 33),
        ("self.names.map(n, n).size() == 2", 31, 80),
        ("self.replicas == 3 ? self.name : 'x'", 4, 4),
        ("self.name + 'x' == 'webx'", 4, 8),
        ("self.?name.orValue('x') == 'web'", 3, 4),
        ("self.names[0] == 'a'", 4, 4),
    ] {
        let (result, got, max) = eval_typed(expression, &schema, &object);
        if (got, max) != (cost, most) {
            wrong.push(format!("{expression} costs {got}, at most {max}: {result}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
