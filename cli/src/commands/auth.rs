//! `bramble auth`

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bramble_provider::HttpUrl;
use clap::Args;
use http::{HeaderValue, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};
use url::{Position, Url};

use super::login::Kept;
use super::typed::read_text;
use super::{Connection, Context};
use crate::client::{Answer, Client, RequestBody};
use crate::error::CliError;
use crate::logins::bearer;

/// The only grant that is spoken here: it needs nobody who looks at a page.
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// Longest secret of a client.
const MAX_SECRET_BYTES: u64 = 4_096;

/// Longest wait for a token.
const LIMIT: Duration = Duration::from_secs(30);

/// Get a token by OAuth2, and keep it for a gateway
#[derive(Debug, Args)]
#[command(after_help = "\
For a gateway behind a proxy that asks for a bearer token. The token endpoint is asked as RFC 6749 says for the grant
client_credentials; the gateway is asked whether it takes the token, which is then kept as `bramble login --token`
keeps one, with the time at which it expires. The endpoint's certificate must be of an authority that this machine knows.

Examples:
  bramble auth --auth-url https://id.example/oauth/token --client-id ci --client-secret-file secret.txt
  bramble auth -g https://far --auth-url https://id.example/oauth/token --client-id ci --client-secret-file - \\
      --audience https://far --scope 'functions' < secret.txt")]
// The token is what this is to get.
#[command(mut_arg("token", |flag| flag.hide(true).conflicts_with("auth_url")))]
pub(crate) struct Auth {
    /// How the token is asked for: client_credentials
    #[arg(long, default_value = CLIENT_CREDENTIALS, hide_default_value = true)]
    grant: String,
    /// The token endpoint
    #[arg(long, value_name = "URL")]
    auth_url: Url,
    /// Who asks
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// The client's secret; others on this machine may see it while the command runs
    #[arg(long, value_name = "SECRET", conflicts_with = "client_secret_file")]
    client_secret: Option<String>,
    /// Read the client's secret from this file, or from stdin for `-`
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// Whom the token is for, where the endpoint wants to know
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// What the token is to allow, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// How the client says who it is. No request may do both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identified {
    /// In `Authorization`, which every endpoint has to take.
    InHeader,
    /// In the form, which is all that some take.
    InForm,
}

/// What an endpoint answers that gives a token.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    /// Seconds: a number, which some write as a text.
    expires_in: Option<Value>,
}

/// What an endpoint answers that gives none.
#[derive(Debug, Deserialize)]
struct Refused {
    error: String,
    error_description: Option<String>,
}

impl Auth {
    /// Asks the endpoint, then the gateway, and keeps the token.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        if self.grant != CLIENT_CREDENTIALS {
            let error = CliError::usage(format!("the grant {:?} is not spoken here", self.grant));
            return Err(error
                .hint(
                    "a token that a browser gets is kept with `bramble login --token TOKEN`; \
                     without a browser: --grant client_credentials",
                )
                .into());
        }
        let secret = self.secret(context)?;
        // Before it is asked: a token never lives longer than is thought here.
        let asked = Timestamp::now();
        let mut answer = self.ask(&secret, Identified::InHeader).await?;
        if is_of_no_known_client(&answer) {
            answer = self.ask(&secret, Identified::InForm).await?;
        }
        let token = token(&answer, asked)
            .map_err(|reason| CliError::failed(format!("{} gave no token: {reason}", self.auth_url)))?;
        token.keep(&self.connection, context).await
    }

    async fn ask(&self, secret: &str, identified: Identified) -> Result<Answer, CliError> {
        let url = &self.auth_url;
        let server = HttpUrl::with_or_without_tls(&url[..Position::BeforePath])
            .map_err(|_| CliError::usage("--auth-url is no http or https URL without a user".to_owned()))?;
        let client = Client::elsewhere(server)?;
        let request = client
            .request(Method::POST, &url[Position::BeforePath..Position::AfterQuery])
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        let request = match identified {
            Identified::InHeader => request.header(header::AUTHORIZATION, self.basic(secret)?),
            Identified::InForm => request,
        };
        let request = request.body(RequestBody::full(self.form(secret, identified)));
        let request = request.map_err(|error| CliError::failed(error.to_string()))?;
        // What can be done about a gateway is not what can be done about this.
        client.ask(request, LIMIT).await.map_err(|error| CliError::new(error.exit(), error.to_string()))
    }

    fn form(&self, secret: &str, identified: Identified) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", CLIENT_CREDENTIALS);
        if identified == Identified::InForm {
            form.append_pair("client_id", &self.client_id).append_pair("client_secret", secret);
        }
        for (key, value) in [("audience", &self.audience), ("scope", &self.scope)] {
            if let Some(value) = value {
                form.append_pair(key, value);
            }
        }
        form.finish()
    }

    /// Both are encoded as in a form first (RFC 6749, 2.3.1): the id may have a colon.
    fn basic(&self, secret: &str) -> Result<HeaderValue, CliError> {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&self.client_id), encode(secret));
        let header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
        let mut header = header.map_err(|error| CliError::failed(error.to_string()))?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn secret(&self, context: &Context) -> Result<String> {
        let what = "the client's secret";
        let text = match (&self.client_secret, &self.client_secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) if path.as_os_str() == "-" => {
                read_text(std::io::stdin(), MAX_SECRET_BYTES, what)?
            }
            (None, Some(path)) => {
                let file = File::open(context.directory.join(path)).map_err(|error| {
                    CliError::usage(format!("cannot read --client-secret-file {}: {error}", path.display()))
                })?;
                read_text(file, MAX_SECRET_BYTES, what)?
            }
            (None, None) => {
                let error = CliError::usage("there is no client's secret");
                return Err(error.hint("name a file with --client-secret-file FILE, or - for stdin").into());
            }
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(CliError::usage(format!("{what} is empty")).into()),
            text => Ok(text.to_owned()),
        }
    }
}

/// Whether the endpoint did not find out who asks.
fn is_of_no_known_client(answer: &Answer) -> bool {
    let refused = serde_json::from_slice::<Refused>(&answer.body);
    answer.status == StatusCode::UNAUTHORIZED
        || refused.is_ok_and(|refused| refused.error == "invalid_client")
}

/// The token that an answer holds, which was asked for at `asked`; else why it holds none.
fn token(answer: &Answer, asked: Timestamp) -> Result<Kept, String> {
    if !answer.status.is_success() {
        return Err(match serde_json::from_slice::<Refused>(&answer.body) {
            Ok(Refused { error, error_description: Some(text) }) => shown(&format!("{error}: {text}")),
            Ok(Refused { error, error_description: None }) => shown(&error),
            Err(_) => format!("it answered {}", answer.status),
        });
    }
    let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| {
        "its answer has no access_token with a token_type; is it a token endpoint?".to_owned()
    })?;
    if !granted.token_type.eq_ignore_ascii_case("bearer") {
        return Err(format!(
            "it gives tokens of the type {:?}, not bearer tokens",
            shown(&granted.token_type)
        ));
    }
    if bearer(&granted.access_token).is_err() {
        return Err("its access_token is empty, or has characters that no token has".to_owned());
    }
    let lifetime = granted.expires_in.as_ref().and_then(seconds);
    let expires = lifetime.and_then(|lifetime| asked.checked_add(SignedDuration::from_secs(lifetime)).ok());
    Ok(Kept::Token(granted.access_token, expires))
}

fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A text of somebody else's as it fits a message.
fn shown(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    text.chars().filter(|character| !character.is_control()).take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        auth: Auth,
    }

    fn parse(words: &[&str]) -> Auth {
        let needed = ["auth", "--auth-url", "http://id/token", "--client-id", "me: and/you"];
        <Command as clap::Parser>::try_parse_from([&needed, words].concat()).unwrap().auth
    }

    #[test]
    fn a_client_says_once_who_it_is() {
        let auth = parse(&["--scope", "a b", "--audience", "https://far"]);
        let asked = "grant_type=client_credentials";
        let wanted = "audience=https%3A%2F%2Ffar&scope=a+b";
        assert_eq!(auth.form("s&t", Identified::InHeader), format!("{asked}&{wanted}"));
        let who = "client_id=me%3A+and%2Fyou&client_secret=s%26t";
        assert_eq!(auth.form("s&t", Identified::InForm), format!("{asked}&{who}&{wanted}"));
        let expected = format!("Basic {}", STANDARD.encode("me%3A+and%2Fyou:s%26t"));
        assert_eq!(auth.basic("s&t").unwrap(), expected);
    }

    #[test]
    fn takes_bearer_tokens_only() {
        let asked: Timestamp = "2024-05-01T12:00:00Z".parse().unwrap();
        let read = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            token(&Answer { status, body: body.into(), shown: None }, asked).map(|kept| match kept {
                Kept::Token(token, expires) => (token, expires.map(|time| time.to_string())),
                Kept::Password(..) => panic!("it is no token"),
            })
        };
        let kept = |expires: Option<&str>| Ok(("abc".to_owned(), expires.map(str::to_owned)));
        let later = Some("2024-05-01T13:00:00Z");
        for (body, expected) in [
            (r#"{"access_token": "abc", "token_type": "Bearer", "expires_in": 3600}"#, later),
            (r#"{"access_token": "abc", "token_type": "bearer", "expires_in": "3600", "scope": "a"}"#, later),
            (r#"{"access_token": "abc", "token_type": "bearer"}"#, None),
            (r#"{"access_token": "abc", "token_type": "bearer", "expires_in": 9223372036854775807}"#, None),
        ] {
            assert_eq!(read(200, body), kept(expected), "{body}");
        }
        for (status, body, says) in [
            (200, r#"{"access_token": "abc", "token_type": "mac"}"#, "\"mac\""),
            (200, r#"{"access_token": "abc"}"#, "token_type"),
            (200, r#"{"access_token": "", "token_type": "bearer"}"#, "empty"),
            (200, r#"{"access_token": "a\nb", "token_type": "bearer"}"#, "no token"),
            (200, "<html>", "is it a token endpoint?"),
            (302, "", "302"),
            (400, r#"{"error": "invalid_scope", "error_description": "no\tsuch"}"#, "invalid_scope: nosuch"),
            (401, r#"{"error": "invalid_client"}"#, "invalid_client"),
            (500, "", "500"),
        ] {
            assert!(read(status, body).unwrap_err().contains(says), "{status} {body}");
        }
    }
}
