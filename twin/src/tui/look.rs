//! How things look: themes, glyphs, and what is left of both without colours or outside ASCII.
//!
//! Nothing is told by colour alone: each level of load and each severity has a glyph of its own.

use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};

use super::alert::Severity;

/// A set of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// On the terminal's own ground, in hues that colour-blind people tell apart (after M. Okabe and K. Ito, "Color
    /// Universal Design", 2008).
    #[default]
    Safe,
    /// Green to red on near black.
    Dark,
    /// The same on white.
    Light,
    /// Few and strong colours on black.
    HighContrast,
}

impl Theme {
    /// All, by the names they are read by.
    pub const NAMES: [(&'static str, Theme); 4] =
        [("safe", Theme::Safe), ("dark", Theme::Dark), ("light", Theme::Light), ("high-contrast", Theme::HighContrast)];
}

impl FromStr for Theme {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::NAMES.map(|(name, _)| name).join(", ");
        Self::NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, theme)| *theme)
            .ok_or_else(|| format!("\"{text}\" is not a theme: {}", names()))
    }
}

/// A theme, and what the terminal cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours, if any.
    pub theme: Theme,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// Use colours; false where `NO_COLOR` is set.
    pub color: bool,
}

impl Default for Look {
    fn default() -> Self {
        Look { theme: Theme::Safe, ascii: false, color: true }
    }
}

/// What a piece of the screen means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Text,
    Dim,
    /// Headings.
    Head,
    /// The heading of the focused part, keys, marks of the cursor.
    Accent,
    Good,
    Fair,
    Warn,
    Bad,
    Sessions,
    Capacity,
    Forecast,
    Band,
    Land,
    Rule,
}

/// How loaded something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    /// Nothing was measured.
    Unknown,
    /// Below a quarter.
    Idle,
    /// Below a half.
    Light,
    /// Below three quarters.
    Medium,
    /// Below nine tenths.
    Heavy,
    /// From nine tenths.
    Full,
    /// It is down, lost or cut.
    Down,
}

impl Load {
    pub(crate) fn of(utilization: Option<f64>) -> Load {
        match utilization {
            Some(share) if share < 0.25 => Load::Idle,
            Some(share) if share < 0.5 => Load::Light,
            Some(share) if share < 0.75 => Load::Medium,
            Some(share) if share < 0.9 => Load::Heavy,
            Some(share) if share.is_finite() => Load::Full,
            _ => Load::Unknown,
        }
    }

    pub(crate) fn tone(self) -> Tone {
        match self {
            Load::Unknown => Tone::Dim,
            Load::Idle | Load::Light => Tone::Good,
            Load::Medium => Tone::Fair,
            Load::Heavy => Tone::Warn,
            Load::Full | Load::Down => Tone::Bad,
        }
    }
}

struct Palette {
    ground: Color,
    text: Color,
    dim: Color,
    accent: Color,
    good: Color,
    fair: Color,
    warn: Color,
    bad: Color,
    sessions: Color,
    capacity: Color,
    forecast: Color,
    band: Color,
    land: Color,
    rule: Color,
}

const fn indexed(index: u8) -> Color {
    Color::Indexed(index)
}

impl Theme {
    /// Indices into the 256 colours that terminals share.
    const fn palette(self) -> Palette {
        match self {
            Theme::Safe => Palette {
                ground: Color::Reset,
                text: Color::Reset,
                dim: indexed(244),
                accent: indexed(32),
                good: indexed(67),
                fair: indexed(36),
                warn: indexed(172),
                bad: indexed(162),
                sessions: indexed(172),
                capacity: indexed(36),
                forecast: indexed(32),
                band: indexed(67),
                land: indexed(241),
                rule: indexed(241),
            },
            Theme::Dark => Palette {
                ground: indexed(234),
                text: indexed(252),
                dim: indexed(245),
                accent: indexed(117),
                good: indexed(71),
                fair: indexed(185),
                warn: indexed(208),
                bad: indexed(203),
                sessions: indexed(222),
                capacity: indexed(114),
                forecast: indexed(75),
                band: indexed(31),
                land: indexed(240),
                rule: indexed(239),
            },
            Theme::Light => Palette {
                ground: indexed(255),
                text: indexed(235),
                dim: indexed(242),
                accent: indexed(25),
                good: indexed(28),
                fair: indexed(94),
                warn: indexed(166),
                bad: indexed(160),
                sessions: indexed(130),
                capacity: indexed(29),
                forecast: indexed(25),
                band: indexed(110),
                land: indexed(247),
                rule: indexed(250),
            },
            Theme::HighContrast => Palette {
                ground: indexed(16),
                text: indexed(231),
                dim: indexed(252),
                accent: indexed(51),
                good: indexed(46),
                fair: indexed(226),
                warn: indexed(214),
                bad: indexed(207),
                sessions: indexed(226),
                capacity: indexed(46),
                forecast: indexed(51),
                band: indexed(39),
                land: indexed(247),
                rule: indexed(250),
            },
        }
    }
}

impl Look {
    /// The style of everything that has no other.
    pub(crate) fn ground(&self) -> Style {
        if !self.color {
            return Style::reset();
        }
        let palette = self.theme.palette();
        Style::reset().fg(palette.text).bg(palette.ground)
    }

    pub(crate) fn style(&self, tone: Tone) -> Style {
        let modifier = match tone {
            Tone::Head | Tone::Accent | Tone::Bad => Modifier::BOLD,
            Tone::Dim | Tone::Land | Tone::Rule if !self.color => Modifier::DIM,
            _ => Modifier::empty(),
        };
        // Nothing is left of the modifiers of what is drawn over.
        let style = Style::new().remove_modifier(Modifier::all()).add_modifier(modifier);
        if !self.color {
            return style;
        }
        let palette = self.theme.palette();
        style.fg(match tone {
            Tone::Text | Tone::Head => palette.text,
            Tone::Dim => palette.dim,
            Tone::Accent => palette.accent,
            Tone::Good => palette.good,
            Tone::Fair => palette.fair,
            Tone::Warn => palette.warn,
            Tone::Bad => palette.bad,
            Tone::Sessions => palette.sessions,
            Tone::Capacity => palette.capacity,
            Tone::Forecast => palette.forecast,
            Tone::Band => palette.band,
            Tone::Land => palette.land,
            Tone::Rule => palette.rule,
        })
    }

    /// Laid over the row of the cursor.
    pub(crate) fn cursor(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A word on a ground of its tone.
    pub(crate) fn badge(&self, tone: Tone) -> Style {
        self.style(tone).add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    /// `plain` where only ASCII may be drawn, else `fine`.
    pub(crate) fn glyph(&self, fine: &'static str, plain: &'static str) -> &'static str {
        if self.ascii { plain } else { fine }
    }

    pub(crate) fn load(&self, load: Load) -> &'static str {
        match load {
            Load::Unknown => self.glyph("◌", "?"),
            Load::Idle => self.glyph("○", "."),
            Load::Light => self.glyph("◔", "-"),
            Load::Medium => self.glyph("◑", "="),
            Load::Heavy => self.glyph("◕", "%"),
            Load::Full => self.glyph("●", "#"),
            Load::Down => self.glyph("✕", "X"),
        }
    }

    pub(crate) fn severity(&self, severity: Severity) -> (&'static str, Tone) {
        match severity {
            Severity::Clear => (self.glyph("○", "-"), Tone::Good),
            Severity::Notice => (self.glyph("◇", "*"), Tone::Text),
            Severity::Warning => (self.glyph("▲", "!"), Tone::Warn),
            Severity::Critical => (self.glyph("◆", "#"), Tone::Bad),
        }
    }

    /// Text with what is not ASCII replaced, where it must be.
    pub(crate) fn text<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        if !self.ascii || text.is_ascii() {
            return text.into();
        }
        let plain = |c: char| match c {
            '×' => "x",
            '·' => "-",
            '→' => "->",
            '–' | '−' => "-",
            '…' => "...",
            '≤' => "<=",
            'Δ' => "diff",
            '▲' => "^",
            '▼' => "v",
            '›' => ">",
            c if c.is_ascii() => "",
            _ => "?",
        };
        let mut replaced = String::with_capacity(text.len());
        for c in text.chars() {
            if c.is_ascii() { replaced.push(c) } else { replaced.push_str(plain(c)) }
        }
        replaced.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_of_load_has_a_glyph_of_its_own() {
        let levels = [Load::Unknown, Load::Idle, Load::Light, Load::Medium, Load::Heavy, Load::Full, Load::Down];
        for ascii in [false, true] {
            let look = Look { ascii, ..Look::default() };
            let glyphs: std::collections::BTreeSet<_> = levels.iter().map(|level| look.load(*level)).collect();
            assert_eq!(glyphs.len(), levels.len());
            assert!(!ascii || glyphs.iter().all(|glyph| glyph.is_ascii()));
        }
        assert_eq!(Load::of(Some(f64::NAN)), Load::Unknown);
        assert_eq!(Load::of(Some(3.0)), Load::Full);
    }

    #[test]
    fn a_theme_is_read_by_its_name() {
        for (name, theme) in Theme::NAMES {
            assert_eq!(name.parse(), Ok(theme));
        }
        assert!("pink".parse::<Theme>().unwrap_err().contains("high-contrast"));
    }
}
