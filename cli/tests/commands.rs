//! Runs the transcripts under `tests/cmd/`. `TRYCMD=overwrite cargo test -p cli --test commands` writes them anew.

#[test]
fn the_transcripts_are_what_the_command_prints() {
    trycmd::TestCases::new().env("KUBECONFIG", "absent").case("tests/cmd/*.md");
}
