//! Holds `crds/yaml/` against the Rust types. `UPDATE=1 cargo test -p crds` writes the files anew; nothing else does.

use std::{fs, path::Path};

#[test]
fn the_committed_yaml_is_what_the_types_generate() {
    for crd in crds::all() {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml").join(name);
        let text = serde_saphyr::to_string(&crd).expect("a CRD serialises");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).expect("write the CRD");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{} is stale: run UPDATE=1 cargo test -p crds", path.display());
    }
}
