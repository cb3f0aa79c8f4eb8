//! The wire forms against documents as `faas-cli` and the portal send them.

use serde_json::json;

use super::*;

const DIGEST: &str = "sha256:0707070707070707070707070707070707070707070707070707070707070707";

fn spec(document: serde_json::Value) -> Result<FunctionSpec, ProviderError> {
    serde_json::from_value::<Deployment>(document).unwrap().try_into()
}

#[track_caller]
fn refused(document: serde_json::Value, expected: &str, value: &str) {
    match spec(document) {
        Err(ProviderError::InvalidSpec { field, reason }) => {
            assert_eq!(field, expected);
            assert!(reason.contains(value), "{reason:?} does not have {value:?} in it");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_what_faas_cli_sends() {
    let spec = spec(json!({
        "service": "figlet", "image": "ghcr.io/openfaas/figlet:latest", "network": "", "envProcess": "figlet -w 80",
        "envVars": {"exec_timeout": "5s"}, "constraints": null, "secrets": ["db-password"], "labels": {"a": "b"},
        "annotations": {}, "limits": {"memory": "64Mi", "cpu": "100m", "nvidia.com/gpu": "1"}, "requests": null,
        "readOnlyRootFilesystem": true, "namespace": "openfaas-fn",
    }))
    .unwrap();
    assert_eq!(spec.name.as_str(), "figlet");
    assert_eq!(spec.code, Code::Image("ghcr.io/openfaas/figlet:latest".into()));
    assert_eq!(spec.process, ["figlet", "-w", "80"]);
    assert_eq!(spec.limits.memory_bytes, Some(64 << 20));
    assert_eq!(spec.limits.cpu_millis, Some(100));
    assert_eq!(spec.secrets[0].as_str(), "db-password");
    assert!(spec.read_only_root_filesystem);
}

#[test]
fn the_image_decides_the_runtime() {
    let code = |image: &str, annotations: serde_json::Value| {
        spec(json!({"service": "a", "image": image, "annotations": annotations})).unwrap().code
    };
    let digest = Digest::parse(DIGEST).unwrap();
    assert_eq!(code(DIGEST, json!(null)), Code::Module(digest));
    assert_eq!(code(DIGEST, json!({"bramble.module": DIGEST})), Code::Module(digest));
    let hybrid = code("img:1", json!({"bramble.module": DIGEST}));
    assert_eq!(hybrid, Code::Hybrid { module: digest, image: "img:1".into() });
}

#[test]
fn a_refusal_names_the_field_and_the_value() {
    refused(json!({"image": "i"}), "service", "required");
    refused(json!({"service": "", "image": "i"}), "service", "required");
    refused(json!({"service": "a"}), "image", "required");
    refused(json!({"service": "../a", "image": "i"}), "service", "../a");
    refused(json!({"service": "a", "image": "i", "namespace": "B"}), "namespace", "B");
    refused(json!({"service": "a", "image": "sha256:abc"}), "image", "sha256:abc");
    refused(json!({"service": "a", "image": "oci://r/n:t"}), "image", "not supported yet");
    refused(json!({"service": "a", "image": "two words"}), "image", "two words");
    refused(json!({"service": "a", "image": "i", "limits": {"memory": "12Q"}}), "limits.memory", "12Q");
    refused(json!({"service": "a", "image": "i", "requests": {"cpu": "lots"}}), "requests.cpu", "lots");
    refused(json!({"service": "a", "image": "i", "secrets": ["../x"]}), "secrets", "../x");
    refused(json!({"service": "a", "image": "i", "envProcess": "sh -c 'x"}), "envProcess", "not closed");
    let odd = json!({"service": "a", "image": "i", "annotations": {"bramble.module": "latest"}});
    refused(odd, "annotations.bramble.module", "latest");
}

#[test]
fn a_removal_takes_its_namespace_from_either_place() {
    let removal = |document, namespace| {
        serde_json::from_value::<Removal>(document).unwrap().name(namespace).map(|name| name.to_string())
    };
    assert_eq!(removal(json!({"functionName": "a", "namespace": ""}), None).unwrap(), "a");
    assert_eq!(removal(json!({"functionName": "a"}), Some("team")).unwrap(), "a.team");
    assert_eq!(removal(json!({"functionName": "a", "namespace": "x"}), Some("y")).unwrap(), "a.x");
    assert!(removal(json!({}), None).is_err());
}
