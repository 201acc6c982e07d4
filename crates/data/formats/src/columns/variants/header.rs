//! What a VCF header declares (VCFv4.3 §1.4), and how BCF numbers it (§6.2.1).

use std::collections::HashMap;

use super::typed::Shape;

/// More numbers than this are damage.
const MOST_NUMBERS: usize = 1 << 20;

/// Declarations in order of appearance.
#[derive(Default)]
pub(super) struct Header {
    pub(super) info: Vec<(String, Shape)>,
    pub(super) format: Vec<(String, Shape)>,
    pub(super) samples: Vec<String>,
    /// Names of FILTER, INFO and FORMAT by number.
    pub(super) strings: Vec<String>,
}

impl Header {
    pub(super) fn parse(text: &str) -> Self {
        let mut header = Self { strings: vec!["PASS".into()], ..Self::default() };
        let mut numbers: HashMap<String, usize> = HashMap::from([("PASS".to_owned(), 0)]);
        for line in text.lines() {
            let line = line.trim_end_matches(['\0', '\r']);
            if let Some(titles) = line.strip_prefix("#CHROM") {
                header.samples = titles.split('\t').skip(9).map(str::to_owned).collect();
                continue;
            }
            let Some((what, inside)) = line.strip_prefix("##").and_then(|line| line.split_once("=<")) else { continue };
            if !matches!(what, "INFO" | "FORMAT" | "FILTER") {
                continue;
            }
            let attributes = attributes(inside.strip_suffix('>').unwrap_or(inside));
            let attribute = |name: &str| attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            let Some(id) = attribute("ID") else { continue };
            let told = attribute("IDX").and_then(|number| number.parse().ok()).filter(|number| *number < MOST_NUMBERS);
            header.number(&mut numbers, id, told);
            let shape = Shape::declared(attribute("Number").unwrap_or("."), attribute("Type").unwrap_or("String"));
            let declared = match what {
                "INFO" => &mut header.info,
                "FORMAT" => &mut header.format,
                _ => continue,
            };
            if !declared.iter().any(|(known, _)| known == id) {
                declared.push((id.to_owned(), shape));
            }
        }
        header
    }

    fn number(&mut self, numbers: &mut HashMap<String, usize>, id: &str, told: Option<usize>) {
        if numbers.contains_key(id) && told.is_none() {
            return;
        }
        let number = told.unwrap_or(self.strings.len());
        if self.strings.len() <= number {
            self.strings.resize(number + 1, String::new());
        }
        self.strings[number] = id.to_owned();
        numbers.insert(id.to_owned(), number);
    }
}

/// `key=value` pairs with commas between them; a quoted value may hold commas.
fn attributes(inside: &str) -> Vec<(&str, &str)> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = inside.split(|letter: char| {
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        letter == ',' && !quoted
    });
    parts.filter_map(|part| part.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::Header;

    #[test]
    fn declarations_are_numbered_as_bcf_numbers_them() {
        let header = Header::parse(
            "##fileformat=VCFv4.3\n##FILTER=<ID=PASS,Description=\"ok\",IDX=0>\n##FILTER=<ID=q10,Description=\"a, b\",IDX=4>\n\
             ##INFO=<ID=AF,Number=A,Type=Float,Description=\"ID=x,\\\"y\\\",Number=9\",IDX=1>\n##INFO=<ID=DB,Number=0,Type=Flag>\n\
             ##FORMAT=<ID=AF,Number=1,Type=Float>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb b\n\0",
        );
        assert_eq!(header.strings, ["PASS", "AF", "", "", "q10", "DB"]);
        assert_eq!(header.samples, ["a", "b b"]);
        assert_eq!(header.info.len(), 2);
        assert!(header.info[0].1.list && !header.format[0].1.list);
    }
}
