//! What the original answers, route by route and field by field, asked with the real curl: for a function in wasm
//! and for the same in a container.

use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, Start, guest};
use crate::transcript::exchange::{check, curl};

/// Request and answer in turn. `IMAGE` is a module or a container image, `FUNCTION` the deployed function.
const EXCHANGES: &str = r##"
# Open to everybody.
GET /healthz
    200 text OK
GET /
    307
    < location: /ui/
GET /metrics
    404 error unknown_path
GET /system/nothing
    404 error unknown_path
PATCH /system/functions
    405 error unknown_method
POST /system/info
    405 error unknown_method

GET /system/info
    200 json {"provider": {"provider": "bramble", "orchestration": "<any>", "version": {"sha": "<text>", "release": "<text>", "commit_message": "<any>"}}, "version": {"sha": "<text>", "release": "<text>", "commit_message": "<any>"}, "arch": "<text>", "wasm": "<any>", "containers": "<any>"}
    < content-type: application/json

# faas-cli updates, and creates upon 404.
GET /system/functions
    200 json []
PUT /system/functions {"service": "FUNCTION", "image": "IMAGE"}
    404 error unknown_function
POST /system/functions {"service": "FUNCTION", "image": "IMAGE", "envProcess": "/conform env", "labels": null, "annotations": null, "envVars": null, "constraints": null, "secrets": null, "limits": null, "requests": null, "readOnlyRootFilesystem": null}
    202
POST /system/functions {"service": "FUNCTION", "image": "IMAGE"}
    409 error already_deployed
POST /system/functions nonsense
    400 error invalid_json
POST /system/functions {"image": "IMAGE"}
    400 error invalid_spec
POST /system/functions {"service": "other"}
    400 error invalid_spec
POST /system/functions {"service": "No Name", "image": "IMAGE"}
    400 error invalid_spec
POST /system/functions {"service": "other", "image": "IMAGE", "secrets": ["nowhere"]}
    400 error unknown_secret
ready

# Labels and annotations are never null, what is empty is not there.
GET /system/functions
    200 json [{"name": "FUNCTION", "image": "IMAGE", "namespace": "openfaas-fn", "envProcess": "/conform env", "labels": {"faas_function": "FUNCTION"}, "annotations": {}, "invocationCount": 0, "replicas": "<count>", "availableReplicas": "<count>", "createdAt": "<time>"}]
    < content-type: application/json
GET /system/functions?namespace=openfaas-fn
    200 json ["<any>"]
GET /system/functions?namespace=other
    200 json []
GET /system/function/FUNCTION
    200 json {"name": "FUNCTION", "image": "IMAGE", "namespace": "openfaas-fn", "envProcess": "/conform env", "labels": {"faas_function": "FUNCTION"}, "annotations": {}, "invocationCount": 0, "replicas": "<count>", "availableReplicas": "<count>", "createdAt": "<time>"}
    < content-type: application/json
GET /system/function/FUNCTION.openfaas-fn?usage=1
    200 json {"name": "FUNCTION", "image": "IMAGE", "namespace": "openfaas-fn", "envProcess": "/conform env", "labels": {"faas_function": "FUNCTION"}, "annotations": {}, "invocationCount": 0, "replicas": "<count>", "availableReplicas": "<count>", "createdAt": "<time>", "usage?": {"totalMemoryBytes": "<number>"}}
GET /system/function/nobody
    404 error unknown_function
GET /system/function/FUNCTION?namespace=other
    404 error unknown_function

# Secrets: a value is never told.
GET /system/secrets
    200 json []
    < content-type: application/json
POST /system/secrets {"name": "SECRET", "namespace": "openfaas-fn", "value": "one"}
    201
POST /system/secrets {"name": "SECRET", "value": "two"}
    409 error secret_exists
PUT /system/secrets {"name": "SECRET", "value": "two"}
    202
PUT /system/secrets {"name": "nowhere", "value": "two"}
    404 error unknown_secret
POST /system/secrets {"name": "../up", "value": "two"}
    400 error invalid_spec
GET /system/secrets?namespace=openfaas-fn
    200 json [{"name": "SECRET", "namespace": "openfaas-fn"}]

# An update is told as it was asked for.
PUT /system/functions {"service": "FUNCTION", "namespace": "openfaas-fn", "image": "IMAGE", "envProcess": "/conform env", "envVars": {"A": "b", "write_debug": "true"}, "secrets": ["SECRET"], "labels": {"team": "blue"}, "annotations": {"topic": "news"}, "limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"memory": "16Mi"}, "constraints": ["node.platform.os == linux"], "readOnlyRootFilesystem": true, "network": "unknown fields are ignored"}
    202
GET /system/function/FUNCTION
    200 json {"name": "FUNCTION", "image": "IMAGE", "namespace": "openfaas-fn", "envProcess": "/conform env", "envVars": {"A": "b", "write_debug": "true"}, "secrets": ["SECRET"], "labels": {"team": "blue", "faas_function": "FUNCTION"}, "annotations": {"topic": "news"}, "limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"memory": "16Mi"}, "constraints": ["node.platform.os == linux"], "readOnlyRootFilesystem": true, "invocationCount": 0, "replicas": "<count>", "availableReplicas?": "<count>", "createdAt": "<time>"}
DELETE /system/secrets {"name": "SECRET"}
    409 error secret_in_use

# Invoking: every verb, with the path and the query behind the name.
ready
GET /function/FUNCTION/p/q?x=1&y
    > x-own: 7
    200 lines Http_Method=GET, Http_Path=/p/q, Http_Query=x=1&y, Http_X_Own=7, Http_X_Forwarded_For=127.0.0.1:*, Http_X_Forwarded_Host=127.0.0.1:*
    < x-call-id: <id>
    < x-start-time: <nanoseconds>
    < x-duration-seconds: <seconds>
POST /function/FUNCTION.openfaas-fn some body
    > content-type: text/csv
    > x-call-id: of-the-caller
    200 lines Http_Method=POST, Http_Path=/, Http_Content_Length=9, Http_X_Call_Id=of-the-caller, Http_Content_Type=text/csv
    < x-call-id: of-the-caller
    < content-type: text/csv
PUT /function/FUNCTION some body
    200 lines Http_Method=PUT
PATCH /function/FUNCTION some body
    200 lines Http_Method=PATCH
DELETE /function/FUNCTION
    200 lines Http_Method=DELETE
POST /function/nobody
    404 error unknown_function
POST /function/
    400 error invalid_spec

# Scaling, by the body or by the query's namespace.
POST /system/scale-function/FUNCTION {"serviceName": "FUNCTION", "replicas": 2}
    202
GET /system/function/FUNCTION
    200 json {"replicas": 2, "...": "<any>"}
POST /system/scale-function/FUNCTION?namespace=openfaas-fn {"replicas": 1, "namespace": "openfaas-fn"}
    202
POST /system/scale-function/nobody {"serviceName": "nobody", "replicas": 2}
    404 error unknown_function
POST /system/scale-function/FUNCTION nonsense
    400 error invalid_json
POST /system/scale-function/FUNCTION {"serviceName": "FUNCTION"}
    400 error invalid_spec
# What is 0 is not there, and the next request brings a replica back.
POST /system/scale-function/FUNCTION {"serviceName": "FUNCTION", "replicas": 0}
    202
GET /system/function/FUNCTION
    200 json {"name": "FUNCTION", "image": "IMAGE", "namespace": "openfaas-fn", "envProcess": "/conform env", "envVars": {"A": "b", "write_debug": "true"}, "secrets": ["SECRET"], "labels": {"team": "blue", "faas_function": "FUNCTION"}, "annotations": {"topic": "news"}, "limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"memory": "16Mi"}, "constraints": ["node.platform.os == linux"], "readOnlyRootFilesystem": true, "invocationCount": 5, "availableReplicas?": "<count>", "createdAt": "<time>"}
POST /function/FUNCTION some body
    200 lines Http_Method=POST
# Of containers the old ones answer until the new ones are ready.
until A=b

# Logs end, and are one JSON document a line.
GET /system/logs?name=FUNCTION
    200 ndjson {"name": "FUNCTION", "namespace": "openfaas-fn", "instance": "<any>", "timestamp": "<time>", "text": "<any>"}
    < content-type: application/x-ndjson
GET /system/logs?name=FUNCTION.openfaas-fn&tail=1&since=2020-01-01T00:00:00Z&follow=false
    200 ndjson "<any>"
GET /system/logs
    400 error invalid_spec
GET /system/logs?name=FUNCTION&tail=many
    400 error invalid_spec
GET /system/logs?name=nobody
    404 error unknown_function

# Asynchronously.
POST /async-function/FUNCTION/p?x=1 some body
    202
    < x-call-id: <id>
    < x-start-time: <nanoseconds>
POST /async-function/FUNCTION.openfaas-fn
    > x-call-id: of-the-caller
    202
    < x-call-id: of-the-caller
POST /async-function/nobody
    404 error unknown_function
POST /async-function/FUNCTION
    > x-callback-url: nowhere
    400 error invalid_spec
GET /async-function/FUNCTION
    405 error unknown_method
DELETE /async-function/FUNCTION/unknown
    404 error unknown_call

# Alertmanager's webhook: what it names and nobody has is no error.
POST /system/alert {"status": "firing", "receiver": "scale-up", "alerts": [{"status": "firing", "labels": {"alertname": "APIHighInvocationRate", "function_name": "nobody"}}]}
    200 json {"scaled": [], "unknown": ["nobody"], "refused": {}, "failed": {}}
POST /system/alert nonsense
    400 error invalid_json

# Namespaces.
GET /system/namespaces
    200 json ["openfaas-fn"]
    < content-type: application/json
GET /system/namespace/team
    404 error unknown_namespace
POST /system/namespace/team {"name": "team", "labels": {"a": "b"}, "annotations": {"openfaas": "1"}}
    201
POST /system/namespace/team {"name": "team"}
    409 error namespace_exists
GET /system/namespace/team
    200 json {"name": "team", "labels": {"a": "b"}, "annotations": {"openfaas": "1"}}
PUT /system/namespace/team {"name": "team"}
    202
GET /system/namespace/team
    200 json {"name": "team", "labels": {}, "annotations": {}}
GET /system/namespaces
    200 json ["openfaas-fn", "team"]
DELETE /system/namespace/team
    202
DELETE /system/namespace/team
    404 error unknown_namespace

# The command line removes with the namespace in the body, the portal with it in the query.
DELETE /system/functions {"functionName": ""}
    400 error invalid_spec
DELETE /system/functions?namespace=other {"functionName": "FUNCTION"}
    404 error unknown_function
DELETE /system/functions?namespace=openfaas-fn {"functionName": "FUNCTION"}
    202
DELETE /system/functions {"functionName": "FUNCTION", "namespace": "openfaas-fn"}
    404 error unknown_function
GET /system/functions
    200 json []
DELETE /system/secrets {"name": "SECRET", "namespace": "openfaas-fn"}
    202
DELETE /system/secrets {"name": "SECRET"}
    404 error unknown_secret
"##;

/// What nobody gets without credentials.
const CLOSED: &str = "
GET /system/functions
POST /system/functions
PUT /system/functions
DELETE /system/functions
GET /system/function/f
POST /system/scale-function/f
GET /system/info
GET /system/secrets
POST /system/secrets
PUT /system/secrets
DELETE /system/secrets
GET /system/logs?name=f
GET /system/namespaces
GET /system/namespace/n
POST /system/namespace/n
PUT /system/namespace/n
DELETE /system/namespace/n
POST /system/alert
GET /ui/
";

/// Does it all with a function of this image.
#[track_caller]
fn check_all(gateway: &Gateway, image: &str, function: &str) {
    let table = EXCHANGES.replace("IMAGE", image).replace("FUNCTION", function);
    check(gateway, function, &table.replace("SECRET", &format!("{function}-key")));
}

#[test]
fn a_wasm_function_answers_field_by_field() {
    let gateway = Start::new().flag("--scaler", "off").start();
    let image = gateway.upload(&guest::tells_environment());
    check_all(&gateway, &image, "env");
}

#[test]
fn a_function_in_a_container_answers_field_by_field() {
    let docker = Docker::shared();
    let name = docker.name("reference");
    check_all(&docker.gateway(), CONFORM, &name);
}

#[test]
fn nobody_without_credentials_gets_anything_but_functions() {
    let (_directory, path) = crate::auth::credentials();
    let gateway = Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path).start();
    for line in CLOSED.lines().filter(|line| !line.is_empty()) {
        let (method, path) = line.split_once(' ').unwrap();
        let answer = curl(&gateway, method, path, &[], "");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"Restricted\"", "{line}");
        answer.says(401, "invalid credentials");
    }
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/store/functions.json", 200),
        ("POST", "/function/nobody", 404),
        ("POST", "/async-function/nobody", 404),
        ("DELETE", "/async-function/nobody/call", 404),
    ] {
        curl(&gateway, method, path, &[], "").expect(status);
    }
}
