use std::process::ExitCode;

use bramble_sdk::{Error, Request, Response, serve};

fn handle(mut request: Request) -> Result<Response, Error> {
    let name = request.text()?.trim().to_owned();
    let name = if name.is_empty() { "world".to_owned() } else { name };
    Ok(Response::text(format!("Hello, {name}!\n")))
}

fn main() -> ExitCode {
    serve(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets() {
        let response = handle(Request::new("POST", "/").with_body("Ada")).unwrap();
        assert_eq!(response.into_bytes().unwrap(), b"Hello, Ada!\n");
    }
}
