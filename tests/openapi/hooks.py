"""What the fuzzer is told of the API beside the document: what a module looks like, and which names exist."""

import schemathesis
from hypothesis import strategies as st

# The smallest command: it has a memory and a start, and does nothing.
COMMAND = bytes.fromhex(
    "0061736d01000000010401600000030201000503010001"
    "071302066d656d6f72790200065f737461727400000a040102000b"
)

MODULES = st.sampled_from([COMMAND, COMMAND[:20], b"\x00asm\x01\x00\x00\x00", b"\x00asm", b""]) | st.binary(max_size=64)

schemathesis.openapi.media_type("application/wasm", MODULES)
schemathesis.openapi.media_type("*/*", st.binary(max_size=256))


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    """Half of all requests are about what is there."""
    if path_parameters and "name" in path_parameters and len(str(path_parameters["name"])) % 2:
        path_parameters["name"] = "echo"
    return path_parameters
