//! What expressions come to.

use super::{eval, eval_dyn, eval_typed, sample, sample_schema};
use crate::{Activation, AuthorizationRequest, Authorizer, Decision, Env, PER_CALL_LIMIT, Val};
use crate::{DeclType, Type};
use kaji_api::value;
use std::sync::{Arc, Mutex};

fn check(rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(expression, expected)| {
            let got = eval(expression);
            (got != *expected).then(|| format!("{expression}\n  wanted {expected}\n  got    {got}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators() {
    check(&[
        ("1 + 2 * 3 - 4 / 2", "5"),
        ("-7 % 3", "-1"),
        ("-(-3)", "3"),
        ("!!true", "true"),
        ("1.5 + 1.5", "3"),
        ("1u + 2u", "3"),
        ("'a' + 'b'", "ab"),
        ("b'a' + b'b'", "[97 98]"),
        ("[1] + [2, 3]", "[1, 2, 3]"),
        ("1 < 2 && 2 < 3 || false", "true"),
        (
            "1 == 1.0",
            "compilation failed: ERROR: <input>:1:3: found no matching overload for '_==_' applied to '(int, double)'\n | 1 == 1.0\n | ..^",
        ),
        ("dyn(1) == 1.0", "true"),
        ("1 < 1.5", "true"),
        ("2u > 1", "true"),
        ("dyn(1) == 'a'", "false"),
        ("[1, 2] == [1, 2]", "true"),
        ("{'a': 1} == {'a': 1}", "true"),
        ("'b' in ['a', 'b']", "true"),
        ("'x' in {'x': 1}", "true"),
        ("1 in []", "false"),
        ("true ? 'x' : 'y'", "x"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("1 / 0", "error: division by zero"),
        ("1 % 0", "error: modulus by zero"),
        ("0u - 1u", "error: unsigned integer overflow"),
        ("1 / 0 == 1 || true", "true"),
        ("1 / 0 == 1 && false", "false"),
        ("1 / 0 == 1 || false", "error: division by zero"),
        ("dyn('a') + 1", "error: no such overload"),
        ("duration('1h') + duration('30m')", "5400s"),
        ("timestamp('2024-01-01T00:00:00Z') + duration('24h')", "2024-01-02T00:00:00Z"),
        ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z')", "86400s"),
    ]);
}

#[test]
fn literals() {
    check(&[
        ("0x1F", "31"),
        ("-9223372036854775808", "-9223372036854775808"),
        (r"'a\n\u00e9\x41\101'", "a\néAA"),
        (r"r'a\n'", r"a\n"),
        ("'''a\nb'''", "a\nb"),
        (r"b'\xff\377'", "[255 255]"),
        ("1e3", "1000"),
        ("// comment\n1", "1"),
        ("{'a': 1, 'a': 2}", "{a: 2}"),
        ("[1, 2, 3][1]", "2"),
        ("{'a': {'b': 1}}.a.b", "1"),
        ("[1][3]", "error: index out of bounds: 3"),
        ("{'a': 1}.b", "error: no such key: b"),
        ("{'a': 1}['b']", "error: no such key: b"),
        ("type(1) == int && type('') == string && type([]) == list && type({}) == map", "true"),
        ("type(type(1)) == type", "true"),
        ("type(null) == null_type", "true"),
    ]);
}

#[test]
fn macros() {
    check(&[
        ("[1, 2, 3].all(x, x > 0)", "true"),
        ("[1, 2, 3].exists(x, x > 2)", "true"),
        ("[1, 2, 3].exists_one(x, x > 1)", "false"),
        ("[1, 2, 3].map(x, x * 2)", "[2, 4, 6]"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "[4, 6]"),
        ("[1, 2, 3].filter(x, x > 1)", "[2, 3]"),
        ("{'a': 1}.all(k, k == 'a')", "true"),
        ("has({'a': 1}.a) && !has({'a': 1}.b)", "true"),
        ("[1, 0].all(x, 1 / x > 0)", "error: division by zero"),
        ("[0, 2].exists(x, 4 / x == 2)", "true"),
        ("[[1, 2], [3]].map(x, x.map(y, y + 1))", "[[2, 3], [4]]"),
        ("[1, 2].all(i, v, i < v)", "true"),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"),
        ("[1, 2].existsOne(i, v, v == 2)", "true"),
        ("[5, 6].transformList(i, v, i * v)", "[0, 6]"),
        ("[5, 6].transformMap(i, v, v == 6, i)", "{1: 1}"),
        ("{'a': 'b'}.transformMapEntry(k, v, {v: k})", "{b: a}"),
        ("{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k})", "error: insert failed: key x already exists"),
    ]);
}

#[test]
fn optionals() {
    check(&[
        ("optional.of(1).value()", "1"),
        ("optional.none().hasValue()", "false"),
        ("optional.none().value()", "error: optional.none() dereference"),
        ("optional.ofNonZeroValue('').orValue('x')", "x"),
        ("{'a': 1}.?b.orValue(2)", "2"),
        ("{'a': {'b': 1}}.?a.b.value()", "1"),
        ("{'a': {'b': 1}}.?a.c.hasValue()", "false"),
        ("[1, 2][?1].value()", "2"),
        ("[1, 2][?5].hasValue()", "false"),
        ("{'a': 1}[?'a'] == optional.of(1)", "true"),
        ("[1, ?optional.none(), ?optional.of(2)]", "[1, 2]"),
        ("{?'a': optional.none(), 'b': 1}", "{b: 1}"),
        ("optional.none().or(optional.of(3)).value()", "3"),
        ("optional.of(2).optMap(x, x * 2).value()", "4"),
        ("optional.of([]).optFlatMap(x, x[?0]).hasValue()", "false"),
        ("[1, 2].first().value() + [1, 2].last().value()", "3"),
        ("[optional.of(1), optional.none()].unwrapOpt()", "[1]"),
        (
            "has({'a': 1}.?a)",
            "compilation failed: ERROR: <input>:1:13: invalid argument to has() macro\n | has({'a': 1}.?a)\n | ............^",
        ),
    ]);
}

#[test]
fn conversions() {
    check(&[
        ("int('12') + int(1.9) + int(3u)", "16"),
        ("int('x')", "program instantiation failed: type conversion error from 'string' to 'int'"),
        ("string(1.5) + string(true) + string(1u) + string(b'a')", "1.5true1a"),
        ("string(1000000.0)", "1e+06"),
        ("double('1.5')", "1.5"),
        ("bytes('é')", "[195 169]"),
        ("string(duration('90s'))", "90s"),
        ("string(timestamp('2024-01-01T00:00:00.5Z'))", "2024-01-01T00:00:00.5Z"),
        ("int(timestamp('1970-01-01T00:01:00Z'))", "60"),
        ("timestamp(60)", "1970-01-01T00:01:00Z"),
        ("bool('true')", "true"),
        ("uint(-1)", "program instantiation failed: unsigned integer overflow"),
        ("size('héllo') + size([1]) + size({'a': 1}) + b'ab'.size()", "9"),
    ]);
}

#[test]
fn times() {
    check(&[
        ("timestamp('2024-02-29T23:30:00Z').getFullYear()", "2024"),
        ("timestamp('2024-02-29T23:30:00Z').getMonth()", "1"),
        ("timestamp('2024-02-29T23:30:00Z').getDate()", "29"),
        ("timestamp('2024-02-29T23:30:00Z').getDayOfMonth()", "28"),
        ("timestamp('2024-02-29T23:30:00Z').getDayOfWeek()", "4"),
        ("timestamp('2024-02-29T23:30:00Z').getDayOfYear()", "59"),
        ("timestamp('2024-02-29T23:30:00Z').getHours('+01:00')", "0"),
        ("timestamp('2024-07-01T23:30:00Z').getHours('Europe/Berlin')", "1"),
        ("timestamp('2024-02-29T23:30:15.123Z').getMilliseconds()", "123"),
        ("duration('90m').getHours()", "1"),
        ("duration('1.5s').getMilliseconds()", "1500"),
        ("timestamp('2024-02-29T23:30:00Z').getHours('No/Where')", "error: unknown time zone No/Where"),
    ]);
}

#[test]
fn strings() {
    check(&[
        ("'héllo'.charAt(1)", "é"),
        ("'abcabc'.indexOf('c')", "2"),
        ("'abcabc'.indexOf('c', 3)", "5"),
        ("'abcabc'.lastIndexOf('b')", "4"),
        ("'abcabc'.lastIndexOf('b', 3)", "1"),
        ("'AbC'.lowerAscii() + 'AbC'.upperAscii()", "abcABC"),
        ("'a-b-c'.replace('-', '+') + 'a-b-c'.replace('-', '', 1)", "a+b+cab-c"),
        ("'a,b,c'.split(',')", "[a, b, c]"),
        ("'a,b,c'.split(',', 2)", "[a, b,c]"),
        ("'abc'.split('')", "[a, b, c]"),
        ("'hello'.substring(1, 3) + 'hello'.substring(4)", "elo"),
        ("' x '.trim()", "x"),
        ("['a', 'b'].join('-')", "a-b"),
        ("strings.quote('a\"b')", "\"a\\\"b\""),
        ("'%s is %d years, %.2f'.format(['x', 3, 1.5])", "x is 3 years, 1.50"),
        ("'%s'.format([[1, 'a', true]])", "[1, \"a\", true]"),
        ("'%x %X %b %o %e'.format([255, 'hi', 5, 8, 1234.5])", "ff 6869 101 10 1.234500×10⁰³"),
        ("'hello'.substring(9)", "error: index out of range: 9"),
        ("'foo'.matches('^f.o$') && 'foo'.contains('o') && 'foo'.startsWith('f') && 'foo'.endsWith('o')", "true"),
        ("'a1b22'.find('[0-9]+') + 'a1b22'.findAll('[0-9]+')[1]", "122"),
        ("'a1b22'.findAll('[0-9]+', 1)", "[1]"),
    ]);
}

#[test]
fn lists() {
    check(&[
        ("[1, 2, 3].sum() + [3, 1].max() + [3, 1].min()", "10"),
        ("[duration('1m'), duration('1s')].sum()", "61s"),
        ("[1, 3, 2].isSorted() || ['a', 'b'].isSorted()", "true"),
        ("[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1)", "2"),
        ("[].max()", "error: max called on empty list"),
        ("[1, 2, 3, 4].slice(1, 3)", "[2, 3]"),
        ("[1].slice(0, 3)", "error: cannot slice(0, 3), list is length 1"),
        ("[[1], [2, 3]].flatten()", "[1, 2, 3]"),
        ("[3, 1, 2].sort() + ['x'].map(s, size(s))", "[1, 2, 3, 1]"),
        ("['bb', 'a'].sortBy(s, size(s))", "[a, bb]"),
        ("lists.range(3).reverse()", "[2, 1, 0]"),
        ("[1, 2, 1].distinct()", "[1, 2]"),
        ("sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1]) && !sets.intersects([1], [2])", "true"),
        ("lists.range(1000000000).size()", "error: operation cancelled: actual cost limit exceeded"),
    ]);
}

#[test]
fn kubernetes_libraries() {
    check(&[
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", "true"),
        ("quantity('200M').compareTo(quantity('0.2G'))", "0"),
        ("quantity('50k').add(20) == quantity('50020')", "true"),
        ("quantity('1.5').isInteger()", "false"),
        ("sign(quantity('-1'))", "-1"),
        ("isQuantity('1Q')", "false"),
        ("url('https://user@example.com:80/a/b?x=1&x=2#f').getHost()", "example.com:80"),
        ("url('https://[::1]:80/a').getHostname() + url('https://[::1]:80/a').getPort()", "::180"),
        ("url('https://example.com/a%20b?x=1&x=2').getQuery()['x']", "[1, 2]"),
        ("url('https://example.com/a b').getEscapedPath()", "/a%20b"),
        ("isURL('/path') && !isURL('path') && !isURL('../rel')", "true"),
        ("ip('192.168.0.1').family() == 4 && ip('::1').isLoopback() && !isIP('1.2.3')", "true"),
        ("ip.isCanonical('::ffff') && !ip.isCanonical('0::1')", "true"),
        ("string(ip('10.0.0.1'))", "10.0.0.1"),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"),
        ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", "true"),
        ("cidr('10.0.0.0/8').prefixLength()", "8"),
        ("isCIDR('10.0.0.0/33')", "false"),
        ("semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.2', true).minor() == 2", "true"),
        ("semver('1.0.0-alpha').compareTo(semver('1.0.0'))", "-1"),
        ("isSemver('1.2') || isSemver('01.2.3')", "false"),
        ("format.dns1123Label().validate('ok').hasValue()", "false"),
        ("format.named('uuid').value().validate('x').value()[0]", "does not match the UUID format"),
        ("format.named('nope').hasValue()", "false"),
        ("jsonpatch.escapeKey('a/b~c')", "a~1b~0c"),
        ("JSONPatch{op: 'add', path: '/a', value: 1}.path", "/a"),
        ("Object{spec: Object.spec{replicas: 3}}.spec.replicas", "3"),
        ("has(Object{spec: 1}.spec) && !has(Object{}.spec)", "true"),
    ]);
}

#[test]
fn objects_without_schema() {
    let text = br#"{"spec": {"replicas": 3, "x": 1.5, "list": ["a"], "null": null}, "metadata": {"namespace": "n"}}"#;
    let object = kaji_api::codec::parse_json(text).unwrap();
    for (expression, expected) in [
        ("object.spec.replicas + 1", "4"),
        ("object.spec.x < 2", "true"),
        ("object.spec.list[0]", "a"),
        ("object.metadata.namespace", "n"),
        ("has(object.spec.list) && !has(object.spec.other)", "true"),
        ("object.spec['replicas'] == 3", "true"),
        ("object.spec.list.all(x, x == 'a')", "true"),
        ("object.spec.?other.orValue('none')", "none"),
        ("object.spec.all(k, k != 'y')", "true"),
        ("object.other.spec", "error: no such key: other"),
        ("object.spec.list[2]", "error: index out of bounds: 2"),
        ("object.spec.replicas.x", "error: no such key: x"),
        ("object.spec.replicas + 'x'", "error: no such overload"),
        ("object.spec.replicas.startsWith('x')", "error: no such overload"),
        ("object.spec['null'] == null", "true"),
        ("[object.spec.replicas].sum()", "3"),
        ("object.spec.list.map(x, x + '!')", "[a!]"),
    ] {
        assert_eq!(eval_dyn(expression, &object), expected, "{expression}");
    }
}

#[test]
fn objects_of_a_schema() {
    let (schema, object) = (sample_schema(), sample());
    for (expression, expected) in [
        ("self.replicas == 3", "true"),
        ("self.ratio", "2"),
        ("type(self.ratio) == double", "true"),
        ("type(self.port) == string ? self.port == 'http' : self.port == 80", "true"),
        ("self.since.getFullYear() == 2024 && self.day.getDate() == 29", "true"),
        ("self.every == duration('90m')", "true"),
        ("self.data == b'hi'", "true"),
        ("self.a__dash__b__dot__c", "odd"),
        ("self.__namespace__ + self.namespace", "defaultdefault"),
        ("self.set == [3, 2, 1]", "true"),
        ("self.set + [3, 4] == [1, 2, 3, 4]", "true"),
        ("self.list == [self.list[1], self.list[0]]", "true"),
        ("self.list.exists(e, e.k == 'y' && e.v == 2)", "true"),
        ("self.labels.all(k, self.labels[k].size() > 2)", "true"),
        ("'app' in self.labels", "true"),
        ("has(self.maybe)", "false"),
        ("self.names.map(n, n + '1')", "[a1, b1]"),
        ("self == self", "true"),
        ("has(self.open)", "true"),
    ] {
        assert_eq!(eval_typed(expression, &schema, &object).0, expected, "{expression}");
    }
}

/// Allows reading, and remembers what it was asked.
#[derive(Default)]
struct ReadOnly(Mutex<Vec<AuthorizationRequest>>);

impl Authorizer for ReadOnly {
    fn authorize(&self, request: &AuthorizationRequest) -> Decision {
        self.0.lock().unwrap().push(request.clone());
        Decision { allowed: request.verb == "get", reason: "because".into(), error: None }
    }
}

#[test]
fn permissions_are_asked_of_the_authorizer() {
    let asked = Arc::new(ReadOnly::default());
    let env = Env::new()
        .with("authorizer", DeclType::simple(Type::object("kubernetes.authorization.Authorizer")))
        .with("authorizer.requestResource", DeclType::simple(Type::object("kubernetes.authorization.ResourceCheck")));
    let request = AuthorizationRequest { resource: "pods".into(), name: "p".into(), ..AuthorizationRequest::default() };
    let activation = Activation::new()
        .with("authorizer", Val::authorizer(asked.clone()))
        .with("authorizer.requestResource", Val::request_resource(asked.clone(), request));
    for (expression, expected) in [
        ("authorizer.group('apps').resource('deployments').namespace('n').name('d').check('get').allowed()", "true"),
        ("authorizer.path('/healthz').check('post').allowed()", "false"),
        ("authorizer.requestResource.subresource('log').check('get').reason()", "because"),
        (
            "authorizer.serviceAccount('n', 's').group('').resource('pods').labelSelector('a=b').check('list').errored()",
            "false",
        ),
        ("authorizer.path(' ').check('get').allowed()", "error: path must not be empty"),
        (
            "authorizer.serviceAccount('N', 's').path('/').check('get').allowed()",
            "error: Invalid service account namespace",
        ),
    ] {
        let program = env.compile(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
        assert_eq!(super::show(program.eval(&activation, PER_CALL_LIMIT).result), expected, "{expression}");
    }
    let asked = asked.0.lock().unwrap();
    assert_eq!(asked[0].resource, "deployments");
    assert_eq!(asked[1].path.as_deref(), Some("/healthz"));
    assert_eq!((asked[2].name.as_str(), asked[2].subresource.as_str()), ("p", "log"));
    assert_eq!(asked[3].service_account, Some(("n".into(), "s".into())));
    assert_eq!(asked[3].label_selector, "a=b");
}

#[test]
fn results_become_data() {
    let program = Env::new().with_patches().compile("Object{spec: Object.spec{list: [1, 2], name: 'x'}}").unwrap();
    let made = program.eval(&Activation::new(), PER_CALL_LIMIT).result.unwrap().to_value().unwrap();
    assert_eq!(made, value!({"spec": {"list": [1, 2], "name": "x"}}));
}

#[test]
fn objects_are_named_for_the_fields_they_are_in() {
    let wrong = |name: &str, expected: &str| {
        format!(
            "unexpected type name \"{name}\", expected \"{expected}\", which matches field name path from root Object type"
        )
    };
    for (expression, expected) in [
        ("Object{spec: Object.spec{list: [Object.spec.list{a: {'k': Object.spec.list.a{}}}]}}", Ok(())),
        ("Object{spec: Object{}}", Err(wrong("Object", "Object.spec"))),
        ("Object{spec: Object.spec{list: [Object.list{}]}}", Err(wrong("Object.list", "Object.spec.list"))),
        (
            "Object{a: Object.b{}, c: {'k': Object.d{}}}",
            Err(format!("{}\n{}", wrong("Object.b", "Object.a"), wrong("Object.d", "Object.c"))),
        ),
    ] {
        let program = Env::new().with_patches().compile(expression).unwrap();
        let Val::Struct(object) = program.eval(&Activation::new(), PER_CALL_LIMIT).result.unwrap() else {
            panic!("{expression} makes an object")
        };
        assert_eq!(object.check_names(), expected, "{expression}");
    }
}
