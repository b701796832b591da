//! Certificates that a test signs itself.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Writes `cert.pem`, `key.pem` and both together as `both.pem` into `dir`, for `hosts`
/// (ECDSA P-256, signed by itself).
pub fn write(dir: &Path, hosts: &[&str]) -> anyhow::Result<()> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).context("make a certificate")?;
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(dir.join("cert.pem"), &cert)?;
    fs::write(dir.join("key.pem"), &key)?;
    fs::write(dir.join("both.pem"), cert + &key)?;
    Ok(())
}
