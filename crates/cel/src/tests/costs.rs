//! What expressions cost, and what they may cost at most.

use super::{eval_typed, sample, sample_schema};

#[test]
fn costs_are_counted_as_upstream_counts_them() {
    let (schema, object) = (sample_schema(), sample());
    for (expression, cost, most) in [
        ("true", 0, 0),
        ("self.replicas == 3", 3, 3),
        ("self.replicas + 1 == 4", 4, 4),
        ("has(self.replicas)", 1, 1),
        ("type(self.replicas) == int", 4, 4),
        ("self.name.startsWith('we')", 3, 3),
        ("self.name.matches('^[a-z]*$')", 4, 12),
        ("self.name in ['a', 'b']", 2, 14),
        ("self.names.all(n, n == 'a')", 18, 57),
        ("self.names.exists(n, n == 'a')", 13, 62),
        ("self.names.map(n, n).size() == 2", 40, 79),
        ("self.replicas == 3 ? self.name : 'x'", 5, 5),
        ("self.name + 'x' == 'webx'", 4, 9),
        ("self.?name.orValue('x') == 'web'", 4, 7),
        ("self.names[0] == 'a'", 4, 8),
    ] {
        let (result, got, max) = eval_typed(expression, &schema, &object);
        assert_eq!((got, max), (cost, most), "{expression} is {result}");
    }
}
