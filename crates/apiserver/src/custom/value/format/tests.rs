use super::*;

#[test]
fn strings_are_told_apart() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f"]),
        (
            "uri",
            &["http://a.b/c?d=%20", "/path", "mailto:x", "*", "https://u:p@[::1]:80/"],
            &["", "a b", "x", ":x", "http://a b/", "http://h:x/", "/%zz"],
        ),
        ("email", &["a@b.c", "A B <a@b>", "\"q r\"@b"], &["a", "@b", "a@", "a..b@c", "a b@c"]),
        ("hostname", &["example.com", "a", "1.example.com"], &["", "-a", "a_b", "example.c1"]),
        ("ipv4", &["10.0.0.1", "010.0.0.1"], &["::1", "10.0.0", "x"]),
        ("ipv6", &["::1", "2001:db8::1"], &["10.0.0.1", "g::1"]),
        ("cidr", &["10.0.0.0/8", "fd00::/8"], &["10.0.0.0", "10.0.0.0/33"]),
        ("mac", &["00:11:22:33:44:55", "00-11-22-33-44-55", "0011.2233.4455"], &["00:11:22:33:44", "0011"]),
        ("uuid", &["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000"], &["123e4567"]),
        ("uuid3", &["123e4567-e89b-32d3-0456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]),
        ("uuid4", &["123e4567-e89b-42d3-a456-426614174000"], &["123e4567-e89b-42d3-c456-426614174000"]),
        ("uuid5", &["123e4567-e89b-52d3-8456-426614174000"], &["123e4567-e89b-42d3-8456-426614174000"]),
        ("isbn", &["0321751043", "978-0321751041"], &["0321751044"]),
        ("isbn10", &["0-321-75104-3"], &["978-0321751041"]),
        ("isbn13", &["978-0321751041"], &["978-0321751042"]),
        ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112", "1"]),
        ("ssn", &["111-22-3333", "111 22 3333"], &["111223333", "111-22-333"]),
        ("hexcolor", &["#FFFFFF", "fff"], &["#ff", "#ggg"]),
        ("rgbcolor", &["rgb(0, 10,255)"], &["rgb(256,0,0)", "rgb(01,0,0)", "rgb(1,2)"]),
        ("byte", &["YQ==", "YWI=", "YWJj"], &["", "YQ", "Y=Q=", "-_=="]),
        ("password", &["", "x"], &[]),
        ("date", &["2024-02-29"], &["2023-02-29", "2024-2-29", "x"]),
        ("duration", &["1h30m", "-1.5s", "0", "2 days", "1 wk", "22 ns"], &["", "1", "x", "1 fortnight"]),
        (
            "date-time",
            &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"],
            &["2014-12-15", "2014-12-15T19:30:20", "2014-12-15T24:30:20Z"],
        ),
        ("datetime", &["2014-12-15T19:30:20Z"], &["x"]),
        ("k8s-short-name", &["a-b"], &["A", "a.b", "-a"]),
        ("k8s-long-name", &["a.b-c"], &["A", ".a"]),
    ];
    for (name, yes, no) in cases {
        let format = Format::of(name, types::STRING);
        assert_ne!(format, Format::None, "{name}");
        for s in *yes {
            assert!(format.admits(s), "{name} {s:?}");
        }
        for s in *no {
            assert!(!format.admits(s), "{name} {s:?}");
        }
    }
}

#[test]
fn formats_belong_to_types() {
    assert!(Format::is_recognized("int32", "integer"));
    assert!(!Format::is_recognized("int32", "string"));
    assert!(Format::is_recognized("double", "number"));
    assert!(Format::is_recognized("date-time", "string"));
    assert!(Format::is_recognized("date-time", ""));
    assert!(!Format::is_recognized("date-time", "object"));
    assert!(!Format::is_recognized("nope", "string"));
}
