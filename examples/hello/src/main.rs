//! Greets whom the query names: `?name=Ada`.

use std::process::ExitCode;

use bramble_sdk::{Error, Request, Response, serve};

fn hello(request: Request) -> Result<Response, Error> {
    let name = request.query("name").unwrap_or_else(|| "world".to_owned());
    if name.is_empty() {
        return Err(Error::bad_request("the name is empty"));
    }
    Ok(Response::text(format!("Hello, {name}!\n")))
}

fn main() -> ExitCode {
    serve(hello)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_by_name() {
        for (target, greeting) in [("/", "Hello, world!\n"), ("/?name=Ada%20L.", "Hello, Ada L.!\n")] {
            let response = hello(Request::new("GET", target)).unwrap();
            assert_eq!(response.into_bytes().unwrap(), greeting.as_bytes());
        }
    }

    #[test]
    fn an_empty_name_is_the_callers_fault() {
        assert_eq!(hello(Request::new("GET", "/?name=")).unwrap_err().status(), 400);
    }
}
