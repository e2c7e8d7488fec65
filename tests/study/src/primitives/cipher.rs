//! The six AEADs, behind one face: from a buffer into another, without memory of their own.
//!
//! Keys are expanded once, as the broker does it. The bytes that one adds are its nonce and its tag, since
//! both are sent along.

use super::Task;
use crate::rows::{Kind, Operation};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit, KeySizeUser, array::typenum::Unsigned};
use anyhow::{Context, Result};
use ccm::consts::{U12, U16};
use std::rc::Rc;

/// AES-CCM with the nonce and the tag of TLS 1.3. A nonce of 13 bytes, as most COSE forms of it have,
/// leaves room for messages of 65,535 bytes only.
type Aes128Ccm = ccm::Ccm<aes::Aes128, U16, U12>;

/// What is authenticated beside the message: as many bytes as the envelope's structure has for a short
/// topic and a short sender id.
const ASSOCIATED: [u8; 48] = [0x5A; 48];

/// An AEAD with its key.
pub(crate) trait Cipher {
    /// Bytes of its nonce.
    fn nonce_bytes(&self) -> usize;
    /// Bytes of its tag.
    fn tag_bytes(&self) -> usize;
    /// Ciphertext and tag into `out`, which has exactly that room.
    fn seal(&self, nonce: &[u8], associated: &[u8], plaintext: &[u8], out: &mut [u8]) -> Option<()>;
    /// The plaintext into `out`, which has exactly that room; nothing if the tag is not right.
    fn open(&self, nonce: &[u8], associated: &[u8], sealed: &[u8], out: &mut [u8]) -> Option<()>;
}

struct Keyed<C>(C);

impl<C: AeadInOut> Cipher for Keyed<C> {
    fn nonce_bytes(&self) -> usize {
        C::NonceSize::USIZE
    }

    fn tag_bytes(&self) -> usize {
        C::TagSize::USIZE
    }

    fn seal(&self, nonce: &[u8], associated: &[u8], plaintext: &[u8], out: &mut [u8]) -> Option<()> {
        let (ciphertext, tag) = out.split_at_mut_checked(plaintext.len())?;
        let buffer = InOutBuf::new(plaintext, ciphertext).ok()?;
        let made = self.0.encrypt_inout_detached(nonce.try_into().ok()?, associated, buffer).ok()?;
        (tag.len() == made.len()).then(|| tag.copy_from_slice(&made))
    }

    fn open(&self, nonce: &[u8], associated: &[u8], sealed: &[u8], out: &mut [u8]) -> Option<()> {
        let (ciphertext, tag) = sealed.split_at_checked(out.len())?;
        let buffer = InOutBuf::new(ciphertext, out).ok()?;
        let (nonce, tag) = (nonce.try_into().ok()?, tag.try_into().ok()?);
        self.0.decrypt_inout_detached(nonce, associated, buffer, tag).ok()
    }
}

/// Makes a cipher of a key.
type Make = fn(&[u8]) -> Option<Rc<dyn Cipher>>;

/// An AEAD that is compared.
pub(crate) struct Candidate {
    /// Its name.
    pub(crate) name: &'static str,
    /// Bytes of its key.
    pub(crate) key_bytes: usize,
    make: Make,
}

impl Candidate {
    const fn new<C: AeadInOut + KeyInit + KeySizeUser + 'static>(name: &'static str) -> Self {
        let make: Make = |key| Some(Rc::new(Keyed(C::new_from_slice(key).ok()?)));
        Self { name, key_bytes: C::KeySize::USIZE, make }
    }

    /// One with this key, if it has the right length.
    pub(crate) fn keyed(&self, key: &[u8]) -> Option<Rc<dyn Cipher>> {
        (self.make)(key)
    }
}

/// All of them.
pub(crate) const CANDIDATES: [Candidate; 6] = [
    Candidate::new::<aes_gcm::Aes128Gcm>("AES-128-GCM"),
    Candidate::new::<aes_gcm::Aes256Gcm>("AES-256-GCM"),
    Candidate::new::<chacha20poly1305::ChaCha20Poly1305>("ChaCha20-Poly1305"),
    Candidate::new::<aes_gcm_siv::Aes256GcmSiv>("AES-256-GCM-SIV"),
    Candidate::new::<Aes128Ccm>("AES-128-CCM"),
    Candidate::new::<ascon_aead::AsconAead128>("Ascon-AEAD128"),
];

pub(super) fn tasks(sizes: &[usize]) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for candidate in &CANDIDATES {
        let key = vec![0x07; candidate.key_bytes];
        let cipher = candidate.keyed(&key).context("a key has another length")?;
        for size in sizes {
            let plaintext = vec![0xA5; *size];
            let nonce = vec![0x01; cipher.nonce_bytes()];
            let mut sealed = vec![0; size + cipher.tag_bytes()];
            cipher.seal(&nonce, &ASSOCIATED, &plaintext, &mut sealed).context("a message is too long")?;
            let task = |operation, work| Task {
                kind: Kind::Cipher,
                name: candidate.name.to_owned(),
                operation,
                size_bytes: *size,
                batch: 1,
                added_bytes: cipher.nonce_bytes() + cipher.tag_bytes(),
                work,
            };
            tasks.push(task(Operation::Seal, sealing(cipher.clone(), nonce.clone(), plaintext)));
            tasks.push(task(Operation::Open, opening(cipher.clone(), nonce, sealed)));
        }
    }
    Ok(tasks)
}

fn sealing(cipher: Rc<dyn Cipher>, nonce: Vec<u8>, plaintext: Vec<u8>) -> Box<dyn FnMut() -> bool> {
    let mut out = vec![0; plaintext.len() + cipher.tag_bytes()];
    Box::new(move || cipher.seal(&nonce, &ASSOCIATED, &plaintext, &mut out).is_some())
}

fn opening(cipher: Rc<dyn Cipher>, nonce: Vec<u8>, sealed: Vec<u8>) -> Box<dyn FnMut() -> bool> {
    let mut out = vec![0; sealed.len() - cipher.tag_bytes()];
    Box::new(move || cipher.open(&nonce, &ASSOCIATED, &sealed, &mut out).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::tests::bytes;

    /// A published answer: candidate, key, nonce, associated data, plaintext, ciphertext with tag.
    type Known = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

    const KNOWN: [Known; 6] = [
        // The GCM specification of McGrew and Viega, test cases 2 and 14.
        (
            "AES-128-GCM",
            "00000000000000000000000000000000",
            "000000000000000000000000",
            "",
            "00000000000000000000000000000000",
            "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
        ),
        (
            "AES-256-GCM",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "000000000000000000000000",
            "",
            "00000000000000000000000000000000",
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        ),
        // RFC 8439 §2.8.2.
        (
            "ChaCha20-Poly1305",
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "070000004041424344454647",
            "50515253c0c1c2c3c4c5c6c7",
            "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a20496620\
             4920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c\
             2073756e73637265656e20776f756c642062652069742e",
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92\
             728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b\
             4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
        ),
        // RFC 8452 appendix C.2.
        (
            "AES-256-GCM-SIV",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "030000000000000000000000",
            "",
            "0100000000000000",
            "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28",
        ),
        // NIST CAVP, CCM: 16 bytes of key and tag, 12 of nonce.
        (
            "AES-128-CCM",
            "005e8f4d8e0cbf4e1ceeb5d87a275848",
            "0ec3ac452b547b9062aac8fa",
            "2f1821aa57e5278ffd33c17d46615b77363149dbc98470413f6543a6b749f2ca",
            "b6f345204526439daf84998f380dcfb4b4167c959c04ff65",
            "9575e16f35da3c88a19c26a7b762044f4d7bbbafeff05d754829e2a7752fa3a14890972884b511d8",
        ),
        // The known answers of the reference implementation of NIST SP 800-232.
        (
            "Ascon-AEAD128",
            "000102030405060708090a0b0c0d0e0f",
            "101112131415161718191a1b1c1d1e1f",
            "",
            "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e",
            "e8c3deee246cc5eae3e872313897a2bb6089aa3e15e80307970f2d1f006654609f5b9c996a223962f5b702dd53c2eb",
        ),
    ];

    #[test]
    fn every_cipher_gives_its_published_answer() {
        for (candidate, (name, key, nonce, associated, plaintext, sealed)) in CANDIDATES.iter().zip(KNOWN) {
            assert_eq!(candidate.name, name);
            let cipher = candidate.keyed(&bytes(key)).unwrap();
            let (nonce, associated) = (bytes(nonce), bytes(associated));
            let (plaintext, sealed) = (bytes(plaintext), bytes(sealed));
            let mut out = vec![0; sealed.len()];
            cipher.seal(&nonce, &associated, &plaintext, &mut out).unwrap();
            assert_eq!(out, sealed, "{name}");
            let mut out = vec![0; plaintext.len()];
            cipher.open(&nonce, &associated, &sealed, &mut out).unwrap();
            assert_eq!(out, plaintext, "{name}");
        }
    }

    #[test]
    fn every_cipher_opens_what_it_sealed_and_nothing_else() {
        for candidate in &CANDIDATES {
            let cipher = candidate.keyed(&vec![3; candidate.key_bytes]).unwrap();
            for size in [0, 1, 16, 1_000, 65_536] {
                let (plaintext, nonce) = (vec![b'r'; size], vec![9; cipher.nonce_bytes()]);
                let mut sealed = vec![0; size + cipher.tag_bytes()];
                cipher.seal(&nonce, b"topic", &plaintext, &mut sealed).unwrap();
                let mut opened = vec![0; size];
                assert!(cipher.open(&nonce, b"topic", &sealed, &mut opened).is_some());
                assert_eq!(opened, plaintext, "{}", candidate.name);
                assert!(cipher.open(&nonce, b"other", &sealed, &mut opened).is_none(), "{}", candidate.name);
                let last = sealed.len() - 1;
                sealed[last] ^= 1;
                assert!(cipher.open(&nonce, b"topic", &sealed, &mut opened).is_none(), "{}", candidate.name);
            }
        }
    }

    #[test]
    fn keys_of_another_length_make_no_cipher() {
        for candidate in &CANDIDATES {
            assert!(candidate.keyed(&vec![3; candidate.key_bytes + 1]).is_none(), "{}", candidate.name);
        }
    }
}
