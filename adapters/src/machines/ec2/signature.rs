//! AWS Signature Version 4, as far as a form that is posted needs it (AWS IAM User Guide, "Create a signed AWS API
//! request").

use std::fmt;
use std::fs;
use std::path::Path;

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// How a form is posted.
pub(super) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// What requests are signed with. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key: String,
    secret: String,
    token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(not shown)")
    }
}

/// There are no credentials that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}; hint: {hint}")]
pub struct NoCredentials {
    /// Where they were looked for.
    pub place: String,
    /// What is wrong; nothing of what was found is in it.
    pub what: &'static str,
    /// What may help.
    pub hint: &'static str,
}

impl Credentials {
    /// From the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN` where there is one.
    ///
    /// # Errors
    /// [`NoCredentials`].
    pub fn from_environment() -> Result<Credentials, NoCredentials> {
        Credentials::collected("the environment", |key| std::env::var(key.to_ascii_uppercase()).ok())
    }

    /// From a profile of a file as AWS's own programs keep it (`~/.aws/credentials`).
    ///
    /// # Errors
    /// [`NoCredentials`].
    pub fn from_file(path: &Path, profile: &str) -> Result<Credentials, NoCredentials> {
        let place = format!("profile {profile} of {}", path.display());
        let text = fs::read_to_string(path).map_err(|_| NoCredentials {
            place: place.clone(),
            what: "the file cannot be read",
            hint: "see that it is there, and readable for this user",
        })?;
        let heading = format!("[{profile}]");
        let lines = text.lines().map(str::trim).skip_while(|line| *line != heading).skip(1);
        let lines: Vec<(&str, &str)> =
            lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('=')).collect();
        Credentials::collected(&place, |key| {
            lines.iter().find(|(found, _)| found.trim() == key).map(|(_, value)| value.trim().to_owned())
        })
    }

    /// Two that are known, for a server that asks for some and knows none.
    pub fn fixed(access_key: &str, secret: &str) -> Credentials {
        Credentials { access_key: access_key.to_owned(), secret: secret.to_owned(), token: None }
    }

    fn collected(place: &str, value: impl Fn(&str) -> Option<String>) -> Result<Credentials, NoCredentials> {
        let plain = |text: &String| !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic());
        let get = |key: &str, what| {
            let hint = "both aws_access_key_id and aws_secret_access_key are needed, without blanks or quotes";
            value(key).filter(plain).ok_or_else(|| NoCredentials { place: place.to_owned(), what, hint })
        };
        Ok(Credentials {
            access_key: get("aws_access_key_id", "there is no access key")?,
            secret: get("aws_secret_access_key", "there is no secret")?,
            token: value("aws_session_token").filter(plain),
        })
    }

    /// The headers that a form has to be posted to `/` with. `time` is `20150830T123600Z`.
    pub(super) fn headers(
        &self,
        host: &str,
        region: &str,
        service: &str,
        time: &str,
        body: &str,
    ) -> Vec<(&'static str, String)> {
        let mut signed = vec![("content-type", CONTENT_TYPE.to_owned()), ("host", host.to_owned())];
        signed.push(("x-amz-date", time.to_owned()));
        signed.extend(self.token.clone().map(|token| ("x-amz-security-token", token)));
        let canonical: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let request = format!("POST\n/\n\n{canonical}\n{names}\n{}", hex(&Sha256::digest(body)));
        let date = time.get(..8).unwrap_or(time);
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let first = keyed(format!("AWS4{}", self.secret).as_bytes(), date);
        let key = [region, service, "aws4_request"].iter().fold(first, |key, part| keyed(&key, part));
        let signature = hex(&keyed(&key, &to_sign));
        let access_key = &self.access_key;
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}");
        // The client sets the host itself.
        signed.retain(|(name, _)| *name != "host");
        signed.push(("authorization", authorization));
        signed
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_signature_is_what_others_make_of_the_same() {
        // By another implementation (Python's hmac, the algorithm written out from the guide).
        let credentials = Credentials::fixed("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let headers = credentials.headers("example.test", "us-east-1", "ec2", "20150830T123600Z", "Param1=value1");
        let authorization = &headers.last().unwrap().1;
        assert!(authorization.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/ec2/aws4_request, "));
        assert!(authorization.contains("SignedHeaders=content-type;host;x-amz-date, "), "{authorization}");
        assert!(
            authorization.ends_with("Signature=4d970969ba2ee9a2f00910a683d5cda00a7e616ebd0d444155ae1d4394cacbf6"),
            "{authorization}"
        );
    }

    #[test]
    fn secrets_come_from_a_file_and_are_never_shown() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = 5ecret\n\
                    [edge]\naws_access_key_id=AKIDEDGE\naws_secret_access_key=hunter2\naws_session_token=t0ken\n[bad]\n\
                    aws_access_key_id = AKID\naws_secret_access_key = \"with blanks\"\n";
        file.write_all(text.as_bytes()).unwrap();
        let read = |profile| Credentials::from_file(file.path(), profile);
        assert_eq!(read("default").unwrap(), Credentials::fixed("AKIDDEFAULT", "5ecret"));
        let edge = read("edge").unwrap();
        assert_eq!(edge.token.as_deref(), Some("t0ken"));
        let shown = format!("{edge:?} {edge:#?}");
        let hidden = ["AKIDEDGE", "hunter2", "t0ken"];
        assert!(hidden.iter().all(|secret| !shown.contains(secret)), "{shown}");
        let headers = format!("{:?}", edge.headers("h", "r", "ec2", "20150830T123600Z", ""));
        assert!(!headers.contains("hunter2"), "{headers}");
        assert!(headers.contains("x-amz-security-token"), "{headers}");
        for (profile, what) in [("none", "no access key"), ("bad", "no secret")] {
            let error = read(profile).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("hint:") && !error.contains("blanks\""), "{error}");
        }
        assert!(Credentials::from_file(Path::new("/nowhere"), "default").is_err());
    }
}
