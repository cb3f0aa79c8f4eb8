use std::collections::BTreeSet;

use super::super::{counted, uncounted};
use super::*;

/// What is published: clients are made from it, and the tests of the whole system check answers against it.
const PUBLISHED: &str = include_str!("../../../../docs/openapi.json");

/// The paths of a router, as it tells them to a debugger: it has no other way.
fn paths_of(router: impl std::fmt::Debug) -> BTreeSet<String> {
    let told = format!("{router:?}");
    let (_, paths) = told.split_once("paths: {").expect("a router lists its paths");
    let (paths, _) = paths.split_once("}, fallback_router").unwrap_or((paths, ""));
    let texts = paths.split('"').skip(1).step_by(2);
    // A star lets a name with a slash in it reach the check of names.
    texts.filter(|text| text.starts_with('/')).map(|text| text.replace("{*", "{")).collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let mut served = paths_of(counted());
    served.extend(paths_of(uncounted()));
    // On another port, and below their names.
    served.extend(["/metrics", "/function/{name}", "/function/{name}/{path}"].map(str::to_owned));
    served.insert("/async-function/{name}/{path}".to_owned());
    let described: BTreeSet<String> = document()["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(described, served);
}

#[test]
fn every_operation_has_an_id_of_its_own() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "servers") {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{method} {path}: {id} is there twice");
        }
    }
}

#[test]
fn the_published_document_is_this_one() {
    if *PUBLISHED != *TEXT {
        let current = std::env::temp_dir().join("openapi.json");
        std::fs::write(&current, &*TEXT).unwrap();
        panic!(
            "docs/openapi.json is another one; if this is meant: cp {} docs/openapi.json",
            current.display()
        );
    }
}
