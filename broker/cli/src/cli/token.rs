//! `fanfare token`.

use std::io::{self, Read};
use std::path::Path;

use fanfare::Config;
use fanfare::access::{Access, NewToken, RefusedToken, SigningSecret, token_of, token_sha256};
use fanfare::clock::Uptime;
use fanfare::config::{self, GrantConfig, JwtAlgorithm, JwtConfig, Right};
use serde_json::json;

use super::args::{AlgorithmArg, NewTokenArgs, TokenCommand};
use super::output;

/// What is read of standard input: no token is longer.
const STDIN_BYTES_MAX: u64 = 64 * 1024;
/// Shortest token that a configuration may hold, in bytes.
const TOKEN_BYTES_MIN: usize = 16;

pub(crate) fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Check { token, config } => check(token, config.as_deref()),
        TokenCommand::Hash { token } => {
            let token = read(token)?;
            if token.len() < TOKEN_BYTES_MIN {
                anyhow::bail!("the token is shorter than {TOKEN_BYTES_MIN} bytes");
            }
            output::line(&token_sha256(&token))
        }
        TokenCommand::New(args) => new(*args),
    }
}

/// The token that was typed, or that stands in standard input. What is said of it does not quote it.
fn read(token: Option<String>) -> anyhow::Result<String> {
    let bytes = match token {
        Some(token) if token != "-" => token.into_bytes(),
        _ => {
            let mut bytes = Vec::new();
            io::stdin().lock().take(STDIN_BYTES_MAX).read_to_end(&mut bytes)?;
            bytes
        }
    };
    token_of(&bytes).map_err(|why| anyhow::anyhow!("the token {why}"))
}

fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    let config = Config::load(file, config::environment()?)?;
    config.check()?;
    Ok(config)
}

/// Says what a token grants.
fn check(token: Option<String>, file: Option<&Path>) -> anyhow::Result<()> {
    let config = load(file)?;
    let access = Access::new(config.access.as_ref(), &config.namespace)?;
    if access.is_open() {
        anyhow::bail!("no access is configured: anybody may do everything, whatever the token");
    }
    let grant = access.grant(Some(&read(token)?)).map_err(|refused| match refused {
        RefusedToken::KeysMissing => anyhow::anyhow!(
            "the keys that it may be by are at a jwks_url, which the broker fetches and this does not; with the same keys in \
             a jwks_file it can be checked"
        ),
        refused => refused.into(),
    })?;
    let left = grant.expires_at().map(|at| at.since(Uptime::now()));
    if !output::is_for_people() {
        let mut grants = serde_json::Map::new();
        for right in Right::ALL {
            grants.insert(right.as_str().to_owned(), json!(grant.patterns(right)));
        }
        let said = json!({
            "user": grant.user.as_deref(),
            "id": grant.token_id(),
            "issued_at": grant.issued_at_unix(),
            "expires_at": grant.expires_at_unix(),
            "grants": grants,
        });
        return output::line(&said.to_string());
    }
    let user = grant.user.as_deref().unwrap_or_default();
    output::line(&format!("user       {}", output::printable(user)))?;
    if let Some(id) = grant.token_id() {
        output::line(&format!("id         {}", output::printable(id)))?;
    }
    output::line(&match left {
        Some(left) => format!("expires    in {}", humantime::format_duration(left)),
        None => "expires    never".to_owned(),
    })?;
    for right in Right::ALL {
        let patterns = grant.patterns(right);
        let patterns = if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(" ") };
        output::line(&format!("{:<10} {}", right.as_str(), output::printable(&patterns)))?;
    }
    Ok(())
}

/// Prints a new token.
fn new(args: NewTokenArgs) -> anyhow::Result<()> {
    let config = if args.secret_file.is_none() && args.private_key_file.is_none() {
        Some(load(args.config.as_deref())?)
    } else {
        None
    };
    let jwt = config.as_ref().map(|config| hs256_of(config, args.config.as_deref())).transpose()?;
    let key = match (jwt, &args.secret_file, &args.private_key_file) {
        (Some(jwt), ..) => SigningSecret::of_config(jwt).map_err(anyhow::Error::msg)?,
        (None, Some(path), _) => {
            let file = JwtConfig { secret_file: Some(path.clone()), ..JwtConfig::default() };
            SigningSecret::of_config(&file).map_err(anyhow::Error::msg)?
        }
        (None, None, Some(path)) => private_key(path, args.algorithm)?,
        (None, None, None) => anyhow::bail!("needs --config, --secret-file or --private-key-file"),
    };
    let said = |arg: Option<String>, configured: fn(&JwtConfig) -> &Option<String>| {
        arg.or_else(|| jwt.and_then(|jwt| configured(jwt).clone()))
    };
    let history = if args.no_history { Some(Vec::new()) } else { args.history };
    let grant =
        GrantConfig { subscribe: args.subscribe, publish: args.publish, presence: args.presence, history };
    let token = NewToken {
        user: args.user,
        grant,
        ttl: args.ttl,
        token_id: args.id,
        issuer: said(args.issuer, |jwt| &jwt.issuer),
        audience: said(args.audience, |jwt| &jwt.audience),
        kid: said(args.kid, |jwt| &jwt.kid),
    };
    let token = key.sign(token).map_err(anyhow::Error::msg)?;
    if let Some(config) = &config {
        let access = Access::new(config.access.as_ref(), &config.namespace)?;
        access.grant(Some(&token)).map_err(|why| anyhow::anyhow!("the broker would refuse it: {why}"))?;
    }
    output::line(&token)
}

/// The first key of a configuration that tokens can be signed by.
fn hs256_of<'a>(config: &'a Config, file: Option<&Path>) -> anyhow::Result<&'a JwtConfig> {
    let keys = config.access.iter().flat_map(|access| &access.jwt);
    keys.into_iter().find(|jwt| jwt.algorithm == JwtAlgorithm::HS256).ok_or_else(|| {
        let missing = match file {
            Some(file) => format!("{} has no [[access.jwt]] with HS256", file.display()),
            None => "nothing says by which key to sign".to_owned(),
        };
        anyhow::anyhow!(
            "{missing}: give --config FILE with an [[access.jwt]] that has a secret, --secret-file FILE with that secret, or \
             --private-key-file FILE with --algorithm RS256, ES256 or EdDSA"
        )
    })
}

/// What a private key begins with that is in the form of SEC 1, as `openssl ecparam -genkey` makes it.
const SEC1: &[u8] = b"-----BEGIN EC PRIVATE KEY-----";

fn private_key(path: &Path, algorithm: Option<AlgorithmArg>) -> anyhow::Result<SigningSecret> {
    let algorithm = match algorithm {
        Some(AlgorithmArg::Rs256) => JwtAlgorithm::RS256,
        Some(AlgorithmArg::Es256) => JwtAlgorithm::ES256,
        Some(AlgorithmArg::EdDsa) => JwtAlgorithm::EdDSA,
        None => anyhow::bail!("--private-key-file needs --algorithm"),
    };
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|e| anyhow::anyhow!("{shown} cannot be read: {e}"))?;
    SigningSecret::new(algorithm, &bytes).map_err(|why| {
        if algorithm == JwtAlgorithm::ES256 && bytes.windows(SEC1.len()).any(|window| window == SEC1) {
            return anyhow::anyhow!(
                "{shown} holds a key in SEC1 form, and PKCS#8 is expected, which this makes of it: \
                 openssl pkcs8 -topk8 -nocrypt -in {shown} -out {shown}.pkcs8"
            );
        }
        anyhow::anyhow!("{shown} {why}")
    })
}
