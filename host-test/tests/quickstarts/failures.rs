//! The examples when something fails: the commands of their READMEs are typed again, in the same shell, beside a mock that
//! was told to fail.

use std::fmt::Display;

use anyhow::Result;
use host_test::console::{Page, Shell, Stage, Typed};
use serde_json::{Value, json};

use super::{packages, python};

#[test]
fn storage_refuses_a_token_and_the_component_says_the_fix() {
    let mut example = Example::tried("storage", packages(Stage::in_example("storage"), "azurite"));
    let opaque = r#"{"access_token":"opaque","expires_in":"3600","token_type":"Bearer"}"#;
    let answer = json!({ "status": { "code": 200, "body": opaque, "content-type": "application/json" } });
    example.fault(json!({ "endpoint": "imds", "answer": answer, "times": 2 }));
    let list = example.command("$COMPONENT list");
    example.fails(&list, 1, &["storage: the container says 40", "; fix: "]);
}

#[test]
fn a_blob_that_is_too_long_for_one_request_is_refused() {
    let mut example = Example::tried("storage", packages(Stage::in_example("storage"), "azurite"));
    let upload = example.command("$COMPONENT upload");
    let upload = upload.strip_suffix(" < README.md").unwrap();
    example.reset();
    example.fails(&format!("head -c 5000000 /dev/zero | {upload}"), 1, &["storage: more than "]);
    assert_eq!(example.requests("imds"), 0);
}

#[test]
fn a_secret_has_versions_and_a_role_that_is_missing_is_named() {
    let mut example = Example::tried("key-vault", Stage::in_example("key-vault"));
    let versioned = |version| in_vault(&format!("--env SECRET_VERSION={version} $COMPONENT"));
    example.succeeds(&versioned("00000000000000000000000000000001"));
    example.fails(&versioned("deadbeefdeadbeefdeadbeefdeadbeef"), 1, &["404"]);
    example.fails(&in_vault("--env SECRET_NAME=missing $COMPONENT"), 1, &["az keyvault secret list"]);
    example.fault(json!({ "endpoint": "key-vault", "answer": { "status": { "code": 403 } }, "after": 1 }));
    let role = "az role assignment create --role \"Key Vault Secrets User\"";
    example.fails(&in_vault("$COMPONENT"), 1, &[role]);
}

#[test]
fn a_token_that_the_vault_refuses_once_is_fetched_again_and_one_that_it_keeps_refusing_is_an_error() {
    let mut example = Example::tried("key-vault", Stage::in_example("key-vault"));
    for (refusals, status) in [(2, 0), (9, 1)] {
        example.reset();
        // The request without a token, and then those with a token.
        let answer = json!({ "status": { "code": 401 } });
        example.fault(json!({ "endpoint": "key-vault", "answer": answer, "times": refusals }));
        assert_eq!(example.types(&in_vault("$COMPONENT")).status, status);
        assert_eq!((example.requests("key-vault"), example.requests("imds")), (3, 2));
    }
}

#[test]
fn a_component_reaches_only_the_origins_and_gets_only_the_tokens_that_the_command_names() {
    let mut example = Example::tried("key-vault", Stage::in_example("key-vault"));
    example.reset();
    let elsewhere =
        in_vault("$COMPONENT").replace("--env ", "--env KEY_VAULT_URL=http://127.0.0.1:9 --env TZ=");
    example.fails(&elsewhere, 1, &["does not let the component go there"]);
    let other = in_vault("$COMPONENT").replace("vault.azure.net", "storage.azure.com");
    example.fails(&other, 1, &["the policy does not allow the scope https://vault.azure.net"]);
    assert_eq!(example.requests("imds"), 0);
}

#[test]
fn a_sidecar_logs_each_request_and_says_why_it_has_no_token() {
    let mut example = Example::tried("sidecar", Stage::in_example("sidecar"));
    let (serve, secret) = (example.command("wasmtime serve"), example.command("curl"));
    let missing = secret.replace("MySecret", "missing");
    example.types("kill $!; wait $!; export TOKEN_BROKER_LOG=info");
    example.reset();
    example.types(&serve);
    for _ in 0..3 {
        example.succeeds(&secret);
    }
    assert!(example.succeeds(&missing).contains("SecretNotFound"));
    assert_eq!(example.requests("imds"), 1);
    let log = example.succeeds("cat sidecar.log");
    assert_eq!(log.matches("sent a request with a token").count(), 4, "{log}");

    example.types("kill $!; wait $!");
    example.reset();
    example.fault(json!({ "endpoint": "imds", "answer": { "status": { "code": 400 } }, "times": "forever" }));
    example.types(&serve);
    // A gateway's error would be tried again.
    let once = secret.replace("--retry 60", "--retry 1 --retry-delay 5");
    assert!(example.types(&once).output.contains("az vm identity assign"));
    assert_eq!(example.requests("key-vault"), 0);
}

/// jco's shim reports these answers in its own ways; the broker must neither hang nor trap.
#[test]
fn a_node_program_outlives_the_failures_of_an_endpoint_and_gets_the_reason() {
    let mut example = Example::tried("node", packages(Stage::in_example("node"), "example-node"));
    let program = example.command("node ");
    // Enough for two tries of an endpoint that never comes to an end.
    example.types("export TOKEN_BROKER_TIMEOUT_MS=1500 TOKEN_BROKER_BUDGET_MS=3000");
    for (answer, tag) in [
        (json!({ "status": { "code": 400 } }), "unavailable"),
        (json!("truncated"), "transient"),
        (json!("empty"), "transient"),
        (json!("oversize"), "protocol"),
        (json!("slow-drip"), "transient"),
        (json!("reset"), "transient"),
    ] {
        example.reset();
        example.fault(json!({ "endpoint": "imds", "answer": answer, "times": "forever" }));
        example.fails(&program, 1, &[&format!("tag: '{tag}'")]);
    }
    example.reset();
    example.fault(json!({ "endpoint": "imds", "delay-ms": 1200 }));
    example.succeeds(&program);
    assert_eq!(example.requests("imds"), 1, "an endpoint that thinks is not absent");
}

#[test]
fn components_in_javascript_and_python_get_the_reason_and_the_fix() {
    let js = packages(Stage::in_example("js"), "example-js");
    let py = python(Stage::in_example("python"), "example-python");
    for (name, stage, kind) in [("js", js, "unavailable"), ("python", py, "Unavailable")] {
        let mut example = Example::tried(name, stage);
        example.fault(json!({ "endpoint": "imds", "answer": { "status": { "code": 400 } } }));
        let run = example.command("wasmtime run");
        let told = example.succeeds(&run);
        assert!(told.contains(&format!("err(\"{kind}: ")), "{told}");
        assert!(told.contains("fix: give this machine an identity: `az vm identity assign"), "{told}");
    }
}

/// An example whose README was tried out; its mock runs.
struct Example {
    page: Page,
    shell: Shell,
    _stage: Stage,
}

impl Example {
    fn tried(name: &str, stage: Result<Stage>) -> Self {
        let (page, stage) = (Page::read(&format!("examples/{name}/README.md")).unwrap(), stage.unwrap());
        let mut shell = stage.shell().unwrap();
        page.run(&mut shell).unwrap();
        Self { page, shell, _stage: stage }
    }

    /// The last command of the README with this text in it
    fn command(&self, part: &str) -> String {
        self.page.commands().filter(|command| command.contains(part)).last().unwrap().to_owned()
    }

    fn types(&mut self, command: &str) -> Typed {
        let typed = self.shell.type_in(command).unwrap();
        assert!(!typed.output.contains("eyJ"), "{command} printed a token");
        typed
    }

    fn succeeds(&mut self, command: &str) -> String {
        let Typed { output, status } = self.types(command);
        assert_eq!(status, 0, "{command}: {output}");
        output
    }

    fn fails(&mut self, command: &str, expected: i32, words: &[&str]) {
        let Typed { output, status } = self.types(command);
        assert_eq!(status, expected, "{command}: {output}");
        assert!(words.iter().all(|word| output.contains(word)), "{command}: {output}");
    }

    fn fault(&mut self, fault: impl Display) {
        self.succeeds(&format!("curl --silent --fail {MOCK}/admin/faults --data '{fault}'"));
    }

    fn reset(&mut self) {
        self.succeeds(&format!("curl --silent --fail --request POST {MOCK}/admin/reset"));
    }

    /// How many the mock has had since it was reset
    fn requests(&mut self, endpoint: &str) -> u64 {
        let counters = self.succeeds(&format!("curl --silent --fail {MOCK}/admin/counters"));
        serde_json::from_str::<Value>(&counters).unwrap()[endpoint]["requests"].as_u64().unwrap()
    }
}

/// The command of the README up to the component, with more behind it
fn in_vault(rest: &str) -> String {
    format!(
        "token-broker run --scope https://vault.azure.net --allow $KEY_VAULT_URL --env KEY_VAULT_URL {rest}"
    )
}

const MOCK: &str = "http://127.0.0.1:8181";
