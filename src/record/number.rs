//! JSON numbers taken apart without loss (RFC 8259, 6): compared, scaled and spelled by value.

/// Digits that an exponent may have; a number with a longer one is compared by its spelling.
const EXPONENT_DIGITS_MAX: usize = 18;

/// A number as `±digits × 10^exponent`. The digits (`head` followed by `tail`) neither start nor end with a zero; zero has none.
#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    negative: bool,
    head: &'a str,
    tail: &'a str,
    exponent: i64,
}

/// Why a number is no whole number of the wanted size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// there are non-zero digits behind the last place kept
    Fraction,
    /// it has too many digits in front
    TooLarge,
}

impl<'a> Number<'a> {
    /// Takes a number in JSON's spelling. `None` when it is spelled otherwise (`+1`, `.5`, `01`, `1_000`, spaces), or has an
    /// exponent of more than 18 digits.
    pub fn parse(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let behind_digits = |from: usize| {
            bytes[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |at| from + at)
        };
        let negative = bytes.first() == Some(&b'-');
        let from = usize::from(negative);
        let mut to = behind_digits(from);
        let whole = &text[from..to];
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let mut fraction = "";
        if bytes.get(to) == Some(&b'.') {
            let from = to + 1;
            to = behind_digits(from);
            fraction = &text[from..to];
            if fraction.is_empty() {
                return None;
            }
        }
        let exponent = match bytes.get(to) {
            None => 0,
            Some(b'e' | b'E') => exponent(&text[to + 1..])?,
            Some(_) => return None,
        };
        Some(Self::reduced(negative, whole, fraction, exponent))
    }

    fn reduced(negative: bool, whole: &'a str, fraction: &'a str, exponent: i64) -> Self {
        let mut head = whole.trim_start_matches('0');
        let mut tail = fraction.trim_end_matches('0');
        let mut exponent = exponent - length(tail);
        if tail.is_empty() {
            let kept = head.trim_end_matches('0');
            exponent += length(head) - length(kept);
            head = kept;
        }
        if head.is_empty() {
            tail = tail.trim_start_matches('0');
        }
        if head.is_empty() && tail.is_empty() {
            return Self { negative: false, head: "", tail: "", exponent: 0 };
        }
        Self { negative, head, tail, exponent }
    }

    /// Whether it is zero, in any spelling.
    pub fn is_zero(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    /// The whole number that it is.
    ///
    /// # Errors
    /// When it has a fraction, or more than 128 bits.
    pub fn integer(&self) -> Result<i128, Misfit> {
        self.scaled(39, 0)
    }

    /// `self × 10^scale`, a whole number of at most `precision` digits.
    ///
    /// # Errors
    /// When it has non-zero digits behind `scale` places, or more than `precision - scale` digits in front of the point.
    pub fn scaled(&self, precision: u8, scale: u8) -> Result<i128, Misfit> {
        if self.is_zero() {
            return Ok(0);
        }
        let shift = self.exponent + i64::from(scale);
        if shift < 0 {
            return Err(Misfit::Fraction);
        }
        if self.count() + shift > i64::from(precision) {
            return Err(Misfit::TooLarge);
        }
        accumulate(self.negative, self.digits(), shift).ok_or(Misfit::TooLarge)
    }

    /// The largest whole number that is not above `self × 10^scale`; `None` beyond 128 bits.
    pub fn floor_scaled(&self, scale: u8) -> Option<i128> {
        let shift = self.exponent + i64::from(scale);
        if shift >= 0 {
            return self.scaled(39, scale).ok();
        }
        let kept = usize::try_from(self.count() + shift).unwrap_or(0);
        if kept > 39 {
            return None;
        }
        let towards_zero = accumulate(self.negative, self.digits().take(kept), 0)?;
        if self.negative { towards_zero.checked_sub(1) } else { Some(towards_zero) }
    }

    /// Writes the one spelling that all spellings of this value share: `15e-1` for `1.5`, `1e2` for `100`, `0` for `-0.0`.
    pub fn write_canonical(&self, out: &mut String) {
        if self.is_zero() {
            out.push('0');
            return;
        }
        if self.negative {
            out.push('-');
        }
        out.push_str(self.head);
        out.push_str(self.tail);
        if self.exponent != 0 {
            out.push('e');
            out.push_str(itoa::Buffer::new().format(self.exponent));
        }
    }

    fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.head.bytes().chain(self.tail.bytes())
    }

    fn count(&self) -> i64 {
        length(self.head) + length(self.tail)
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.negative == other.negative
            && self.exponent == other.exponent
            && self.count() == other.count()
            && self.digits().eq(other.digits())
    }
}

/// Whether two numbers in JSON's spelling have the same value.
pub fn same(left: &str, right: &str) -> bool {
    left == right || matches!((Number::parse(left), Number::parse(right)), (Some(left), Some(right)) if left == right)
}

fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > EXPONENT_DIGITS_MAX {
        return None;
    }
    let size: i64 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    Some(if negative { -size } else { size })
}

fn accumulate(negative: bool, digits: impl Iterator<Item = u8>, zeros: i64) -> Option<i128> {
    // counted downwards for negatives, because i128::MIN has no positive twin
    let push = |sum: i128, digit: i128| {
        let tens = sum.checked_mul(10)?;
        if negative { tens.checked_sub(digit) } else { tens.checked_add(digit) }
    };
    let mut sum = 0_i128;
    for digit in digits {
        sum = push(sum, i128::from(digit - b'0'))?;
    }
    for _ in 0..zeros {
        sum = push(sum, 0)?;
    }
    Some(sum)
}

fn length(digits: &str) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX / 4)
}
