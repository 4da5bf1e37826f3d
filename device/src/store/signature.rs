//! Who signed something: minisign signatures (prehashed Ed25519) by one of the two keys the door trusts.
//!
//! Knows nothing of bundles, and keeps no keys. Called by `receive` for a bundle's manifest, and wherever else trusted keys
//! vouch for bytes.

use facelatch_protocol::{BundleFault, TrustedKeys};
use minisign_verify::{Error, PublicKey, Signature};

/// Checks that one of the trusted keys signed `message`. Signatures of the older kind, over the message itself instead of
/// its hash, are refused.
///
/// # Errors
/// [`BundleFault::UnknownSigner`] if the signature names neither key, or there are none; [`BundleFault::Signature`] for
/// anything else.
pub(crate) fn check(
    message: &[u8],
    signature: &str,
    trusted: Option<&TrustedKeys>,
) -> Result<(), BundleFault> {
    let signature = Signature::decode(signature).map_err(|_| BundleFault::Signature)?;
    let mut fault = BundleFault::UnknownSigner;
    for key in trusted.iter().flat_map(|trusted| &trusted.keys) {
        let judged = PublicKey::from_base64(&key.to_string())
            .and_then(|key| key.verify(message, &signature, false));
        match judged {
            Ok(()) => return Ok(()),
            Err(Error::UnexpectedKeyId) => {}
            Err(_) => fault = BundleFault::Signature,
        }
    }
    Err(fault)
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::SigningKey;
    use minisign::KeyPair;

    use super::*;

    fn public(pair: &KeyPair) -> SigningKey {
        SigningKey::parse(&pair.pk.to_base64()).unwrap()
    }

    fn sign(pair: &KeyPair, message: &[u8]) -> String {
        let sign = minisign::sign(None, &pair.sk, message, Some("a bundle"), None);
        sign.unwrap().into_string()
    }

    #[test]
    fn only_what_a_trusted_key_signed_passes() {
        let pairs: Vec<_> = (0..3)
            .map(|_| KeyPair::generate_unencrypted_keypair().unwrap())
            .collect();
        let [first, second, stranger] = &pairs[..] else {
            unreachable!("three pairs")
        };
        let trusted = TrustedKeys {
            serial: 1,
            keys: [public(first), public(second)],
        };
        // The stranger's key under the first one's number, and the other way round.
        let posing = TrustedKeys {
            keys: [SigningKey {
                number: public(first).number,
                ..public(stranger)
            }; 2],
            ..trusted
        };
        let twins = TrustedKeys {
            keys: [posing.keys[0], public(first)],
            ..trusted
        };
        let by_first = sign(first, b"manifest");
        let judge = |signature: &str, trusted| check(b"manifest", signature, trusted);
        let cases = [
            ("first key", judge(&by_first, Some(&trusted)), Ok(())),
            (
                "second key",
                judge(&sign(second, b"manifest"), Some(&trusted)),
                Ok(()),
            ),
            (
                "two keys of one number",
                judge(&by_first, Some(&twins)),
                Ok(()),
            ),
            (
                "stranger",
                judge(&sign(stranger, b"manifest"), Some(&trusted)),
                Err(BundleFault::UnknownSigner),
            ),
            (
                "nobody is trusted",
                judge(&by_first, None),
                Err(BundleFault::UnknownSigner),
            ),
            (
                "another key of the same number",
                judge(&by_first, Some(&posing)),
                Err(BundleFault::Signature),
            ),
            (
                "other bytes",
                judge(&sign(first, b"manifesT"), Some(&trusted)),
                Err(BundleFault::Signature),
            ),
            (
                "trusted comment changed",
                judge(&by_first.replace("a bundle", "a bungle"), Some(&trusted)),
                Err(BundleFault::Signature),
            ),
            (
                "no signature at all",
                judge("x", Some(&trusted)),
                Err(BundleFault::Signature),
            ),
        ];
        for (name, found, want) in cases {
            assert_eq!(found, want, "{name}");
        }
        for len in 0..by_first.trim_end().len() {
            assert!(judge(&by_first[..len], Some(&trusted)).is_err(), "{len}");
        }
    }

    #[test]
    fn the_older_kind_of_signature_is_refused() {
        // The documented key, and signatures of both kinds over "test", of the crate minisign-verify.
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let key = SigningKey::parse(key).unwrap();
        let trusted = TrustedKeys {
            serial: 1,
            keys: [key, key],
        };
        let prehashed = "untrusted comment: signature from minisign secret key\n\
             RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
             trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
             wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";
        assert_eq!(check(b"test", prehashed, Some(&trusted)), Ok(()));
        let legacy = "untrusted comment: signature from minisign secret key\n\
             RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n\
             trusted comment: timestamp:1555779966\tfile:test\n\
             QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==\n";
        assert_eq!(
            check(b"test", legacy, Some(&trusted)),
            Err(BundleFault::Signature)
        );
    }
}
