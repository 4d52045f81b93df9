use super::*;

#[path = "../../../examples/describe/extract.rs"]
mod extract;

#[test]
fn types_and_fields_have_texts() {
    let all = Descriptions::load();
    let pod = all.of("io.k8s.api.core.v1.Pod");
    assert!(pod.own().starts_with("Pod is a collection of containers"));
    assert!(pod.field("spec").starts_with("Specification of the desired behavior"));
    assert_eq!((pod.field("x"), all.of("x").own(), all.of("x").field("y")), ("", "", ""));
}

#[test]
fn the_table_is_current() {
    let Some(sources) = extract::sources() else {
        eprintln!("skipped: the sources of k8s-openapi are not at hand");
        return;
    };
    let mut texts = extract::Texts::new();
    extract::read(&sources, &mut texts).unwrap();
    let wrong = "run `cargo run -p kaji-api --example describe`";
    assert!(extract::table(&texts) == Descriptions::load().text, "{wrong}");
}
