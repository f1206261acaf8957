//! The beginnings by which tokens of services are known.

/// What a token is made of after its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// Letters, digits and `_`.
    Word,
    /// The same and `-`.
    Dashed,
    /// The same, `.` and what base64 has.
    Dotted,
    /// Hexadecimal digits.
    Hex,
}

impl Letters {
    /// Whether a byte is one of them.
    pub fn has(self, byte: u8) -> bool {
        match self {
            Self::Word => super::is_word(byte),
            Self::Dashed => super::is_word(byte) || byte == b'-',
            Self::Dotted => super::is_word(byte) || b"-.+/=".contains(&byte),
            Self::Hex => byte.is_ascii_hexdigit(),
        }
    }
}

use Letters::{Dashed, Dotted, Hex, Word};

/// A beginning, the fewest bytes after it, what those are, and what it belongs to.
pub type Prefix = (&'static str, usize, Letters, &'static str);

/// Each as its service writes it.
pub const PREFIXES: [Prefix; 82] = [
    ("sk-", 20, Dashed, "API key"),
    ("sk_live_", 16, Word, "Stripe key"),
    ("sk_test_", 16, Word, "Stripe key"),
    ("rk_live_", 16, Word, "Stripe key"),
    ("rk_test_", 16, Word, "Stripe key"),
    ("whsec_", 24, Word, "Stripe key"),
    ("hf_", 20, Word, "Hugging Face token"),
    ("api_org_", 20, Word, "Hugging Face token"),
    ("ghp_", 20, Word, "GitHub token"),
    ("gho_", 20, Word, "GitHub token"),
    ("ghu_", 20, Word, "GitHub token"),
    ("ghs_", 20, Word, "GitHub token"),
    ("ghr_", 20, Word, "GitHub token"),
    ("github_pat_", 20, Word, "GitHub token"),
    ("xoxa-", 10, Dashed, "Slack token"),
    ("xoxb-", 10, Dashed, "Slack token"),
    ("xoxc-", 10, Dashed, "Slack token"),
    ("xoxd-", 10, Dashed, "Slack token"),
    ("xoxe-", 10, Dashed, "Slack token"),
    ("xoxe.", 10, Dotted, "Slack token"),
    ("xoxp-", 10, Dashed, "Slack token"),
    ("xoxr-", 10, Dashed, "Slack token"),
    ("xoxs-", 10, Dashed, "Slack token"),
    ("xapp-", 10, Dashed, "Slack token"),
    ("AKIA", 16, Word, "AWS key"),
    ("ASIA", 16, Word, "AWS key"),
    ("ABIA", 16, Word, "AWS key"),
    ("AIza", 30, Dashed, "Google key"),
    ("GOCSPX-", 20, Dashed, "Google key"),
    ("ya29.", 20, Dashed, "Google token"),
    ("glpat-", 16, Dashed, "GitLab token"),
    ("gldt-", 16, Dashed, "GitLab token"),
    ("glrt-", 16, Dashed, "GitLab token"),
    ("glptt-", 16, Dashed, "GitLab token"),
    ("glcbt-", 16, Dashed, "GitLab token"),
    ("glsoat-", 16, Dashed, "GitLab token"),
    ("gsk_", 20, Word, "Groq key"),
    ("npm_", 30, Word, "npm token"),
    ("pypi-", 40, Dashed, "PyPI token"),
    ("rubygems_", 40, Hex, "RubyGems key"),
    ("r8_", 30, Word, "Replicate token"),
    ("dop_v1_", 40, Hex, "DigitalOcean token"),
    ("doo_v1_", 40, Hex, "DigitalOcean token"),
    ("dor_v1_", 40, Hex, "DigitalOcean token"),
    ("dapi", 32, Hex, "Databricks token"),
    ("SG.", 40, Dotted, "SendGrid key"),
    ("key-", 32, Hex, "Mailgun key"),
    ("shpat_", 30, Hex, "Shopify token"),
    ("shpca_", 30, Hex, "Shopify token"),
    ("shppa_", 30, Hex, "Shopify token"),
    ("shpss_", 30, Hex, "Shopify token"),
    ("sq0atp-", 20, Dashed, "Square token"),
    ("sq0csp-", 40, Dashed, "Square token"),
    ("AGE-SECRET-KEY-1", 50, Word, "age key"),
    ("ATATT3", 50, Dotted, "Atlassian token"),
    ("ATCTT3", 50, Dotted, "Atlassian token"),
    ("lin_api_", 30, Word, "Linear key"),
    ("ntn_", 40, Word, "Notion token"),
    ("secret_", 43, Word, "Notion token"),
    ("figd_", 30, Dashed, "Figma token"),
    ("PMAK-", 50, Dashed, "Postman key"),
    ("dp.pt.", 30, Word, "Doppler token"),
    ("dp.st.", 30, Dotted, "Doppler token"),
    ("hvs.", 24, Dashed, "Vault token"),
    ("hvb.", 24, Dashed, "Vault token"),
    ("glsa_", 30, Word, "Grafana token"),
    ("glc_", 40, Dotted, "Grafana token"),
    ("sntrys_", 40, Dotted, "Sentry token"),
    ("sntryu_", 40, Hex, "Sentry token"),
    ("NRAK-", 25, Word, "New Relic key"),
    ("pul-", 40, Hex, "Pulumi token"),
    ("pplx-", 40, Word, "Perplexity key"),
    ("xai-", 40, Word, "xAI key"),
    ("tgp_v1_", 30, Dashed, "Together key"),
    ("pcsk_", 30, Word, "Pinecone key"),
    ("lsv2_", 30, Word, "LangSmith key"),
    ("nvapi-", 30, Dashed, "NVIDIA key"),
    ("jina_", 40, Word, "Jina key"),
    ("wandb_v1_", 30, Dashed, "W&B key"),
    ("dckr_pat_", 20, Dashed, "Docker token"),
    ("dckr_oat_", 20, Dashed, "Docker token"),
    ("eyJhcGlf", 40, Dotted, "Neptune token"),
];
