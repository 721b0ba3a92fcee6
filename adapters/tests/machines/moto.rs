//! moto: a cloud with EC2's interface that is somebody else's, as a server on loopback.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is installed: moto, and what its server needs of all that its own list of extras would bring.
const MOTO: [&str; 3] = ["moto[ec2]==5.2.1", "flask==3.1.3", "flask-cors==6.0.5"];
/// How long each step of that may take \[s\]; half a minute is usual.
const INSTALLED_WITHIN: &str = "240";
/// The region in which all is made.
pub(crate) const REGION: &str = "eu-central-1";
/// One of the images that it knows from the start.
pub(crate) const IMAGE: &str = "ami-0cc293023f983ed53";

/// moto's server, in an environment of Python that is kept beside what is built.
pub(crate) struct Moto {
    child: Child,
    pub(crate) endpoint: String,
}

impl Moto {
    fn start() -> Option<Moto> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
        let python = folder.join("bin/python");
        let has_moto =
            || Command::new(&python).args(["-c", "import moto.server"]).output().is_ok_and(|o| o.status.success());
        let run = |program: &Path, arguments: &[&str]| {
            Command::new("timeout")
                .arg(INSTALLED_WITHIN)
                .arg(program)
                .args(arguments)
                .output()
                .is_ok_and(|output| output.status.success())
        };
        if !has_moto() {
            let made = run(Path::new("python3"), &["-m", "venv", folder.to_str().unwrap()])
                && run(&python, &[&["-m", "pip", "install", "-q"], &MOTO[..]].concat());
            if !made || !has_moto() {
                return None;
            }
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::create(folder.join("log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(&python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let moto = Moto { child, endpoint: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(120), "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(moto)
    }
}

impl Moto {
    /// Starts it; `None` where it cannot be had, which is said, and fails where all servers are required.
    pub(crate) fn start_or_say() -> Option<Moto> {
        let moto = Moto::start();
        if moto.is_none() {
            let required = std::env::var_os("FOREBAY_SERVERS").is_some_and(|value| value == "required");
            assert!(!required, "moto cannot be installed, and FOREBAY_SERVERS=required");
            eprintln!("NOT TESTED: moto cannot be installed");
        }
        moto
    }

    /// Makes a network of this prefix; the identity of its subnet.
    pub(crate) fn subnet(&self, prefix: &str) -> String {
        let vpc = self.ask("ec2", &[("Action", "CreateVpc"), ("CidrBlock", prefix)]);
        let vpc = between(&vpc, "<vpcId>", "</vpcId>");
        let subnet = self.ask("ec2", &[("Action", "CreateSubnet"), ("VpcId", vpc), ("CidrBlock", prefix)]);
        between(&subnet, "<subnetId>", "</subnetId>").to_owned()
    }

    /// Makes a user who may do all there is on EC2, and trusts nobody else from now on; the user's key and secret.
    pub(crate) fn lock(&self) -> (String, String) {
        let user = ("UserName", "forebay");
        self.ask("iam", &[("Action", "CreateUser"), user]);
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}"#;
        self.ask("iam", &[("Action", "PutUserPolicy"), user, ("PolicyName", "ec2"), ("PolicyDocument", policy)]);
        let made = self.ask("iam", &[("Action", "CreateAccessKey"), user]);
        let key = between(&made, "<AccessKeyId>", "</AccessKeyId>").to_owned();
        let secret = between(&made, "<SecretAccessKey>", "</SecretAccessKey>").to_owned();
        self.post("/moto-api/reset-auth", "ec2", "0");
        (key, secret)
    }

    /// Asks something, signed by nobody: it believes everybody, unless it was locked.
    pub(crate) fn ask(&self, service: &str, form: &[(&str, &str)]) -> String {
        let encoded = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
            text.bytes().map(one).collect::<String>()
        };
        let pairs: Vec<String> = [("Version", if service == "iam" { "2010-05-08" } else { "2016-11-15" })]
            .iter()
            .chain(form)
            .map(|(key, value)| format!("{}={}", encoded(key), encoded(value)))
            .collect();
        self.post("/", service, &pairs.join("&"))
    }

    fn post(&self, path: &str, service: &str, body: &str) -> String {
        let host = self.endpoint.strip_prefix("http://").unwrap();
        // Which service is asked stands in what it was signed for.
        let scope = format!("AKID/20260101/{REGION}/{service}/aws4_request");
        let kind = if path == "/" { "application/x-www-form-urlencoded" } else { "text/plain" };
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: {kind}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.lines().next().unwrap_or_default().contains(" 200 "), "{body}: {answer}");
        answer
    }
}

/// What stands between two texts, of which the first has to be there.
pub(crate) fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let from = text.find(begin).unwrap_or_else(|| panic!("no {begin} in {text}")) + begin.len();
    &text[from..from + text[from..].find(end).unwrap()]
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
