//! The command `bramble-bench`.

fn main() -> anyhow::Result<()> {
    bramble_bench::run()
}
