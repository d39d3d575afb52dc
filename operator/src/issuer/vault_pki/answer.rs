//! What Vault gave: examined before anything of it is used.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use render::Problem;
use secrecy::{ExposeSecret, SecretString};

use super::{Content, SecretValues, Source, kept, private_key, renew_at};
use crate::{
    pki,
    provided_certificate::{self, Provided},
    vault::Signed,
};

impl Source<'_> {
    /// The content of the TLS Secret with it, and what clients should trust. The same checks as of a certificate that a
    /// user provides, for exactly the names that were asked for, and the kind of key.
    pub fn accept(&self, signed: &Signed, key: &SecretString) -> Result<(Content, String), Problem> {
        let [chain, ca] = files(signed);
        let data = [("tls.crt", chain.as_str()), ("tls.key", key.expose_secret()), ("ca.crt", &ca)];
        let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec())));
        let secret = Secret {
            type_: Some("kubernetes.io/tls".into()),
            data: Some(BTreeMap::from(data)),
            ..Secret::default()
        };
        let examined = provided_certificate::examine(&secret, &self.wanted(), self.case.now);
        let Provided { pair, ca_bundle, leaf, .. } =
            examined.map_err(|refusal| self.no_good(&refusal.to_string()))?;
        if !pki::is_of_kind(&pair.certificate, &private_key(self.case.service)) {
            return Err(self.no_good("the key is of another kind than the request's"));
        }
        if self.case.now >= renew_at(self.case.service, &leaf) {
            return Err(
                self.no_good("it is to be renewed when it comes; its admin gives the role a longer max_ttl")
            );
        }
        let values = SecretValues::new(pair, &ca_bundle);
        let seal = Some(kept::seal(self.case, &values, &self.asked()));
        Ok((Content { values, seal, leaf, issued: None, replaces_own: false }, ca_bundle))
    }
}

/// `tls.crt` and `ca.crt`. A root is no part of what a server sends; the last of the chain is what clients trust, be it a
/// root or, where Vault does not know that, the highest issuer that it knows.
fn files(signed: &Signed) -> [String; 2] {
    let mut chain = line(&signed.certificate);
    for issuer in signed.chain.iter().filter(|issuer| !pki::is_self_issued(issuer)) {
        chain.push_str(&line(issuer));
    }
    [chain, signed.chain.last().map(|last| line(last)).unwrap_or_default()]
}

fn line(pem: &str) -> String {
    format!("{}\n", pem.trim())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn the_root_is_what_clients_trust_and_no_part_of_what_a_server_sends() {
        let root = pki::new_ca(Timestamp::UNIX_EPOCH).unwrap();
        let ca = pki::Ca::read(&root).unwrap();
        let issued =
            ca.issue(&["a".into()], &crds::PrivateKey::default(), None, 60, Timestamp::UNIX_EPOCH).unwrap();
        // Only who signed whom matters here: the second stands for an issuer below the root, too.
        let (leaf, root) = (issued.certificate.trim().to_owned(), root.certificate.trim().to_owned());
        let line = |pem: &str| format!("{pem}\n");
        for (chain, server, clients) in [
            (vec![root.clone()], line(&leaf), line(&root)),
            (vec![leaf.clone(), root.clone()], line(&leaf) + &line(&leaf), line(&root)),
            (vec![leaf.clone()], line(&leaf) + &line(&leaf), line(&leaf)),
        ] {
            assert_eq!(files(&Signed { certificate: leaf.clone(), chain }), [server, clients]);
        }
    }
}
