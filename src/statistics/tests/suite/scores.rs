//! Tables of scores: written, read, aligned, refused.

use std::collections::BTreeMap;

use sonotune_statistics::scores::{Row, Scores, align};

fn row(image: &str, patient: &str, values: &[f64]) -> Row {
    Row {
        image_id: image.to_owned(),
        file_name: format!("images/{image}, left.png"),
        patient: patient.to_owned(),
        values: values.to_vec(),
        ..Row::default()
    }
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn table() -> Scores {
    let mut rows = vec![
        row("1", "p1", &[1.0 / 3.0, f64::NAN]),
        row("2", "p1", &[0.1 + 0.2, 5e-324]),
        row("3", "", &[-0.0, 1e300]),
    ];
    rows[0].fields = BTreeMap::from([("device".to_owned(), "A \"x\"".to_owned())]);
    rows[2].part = "lesion".to_owned();
    Scores { columns: columns(&["dice", "hd95"]), rows }
}

#[test]
fn a_table_survives_writing_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores.csv");
    let table = table();
    table.write(&path).unwrap();
    let read = Scores::read(&path).unwrap();
    // NaN is not equal to itself.
    let bits = |scores: &Scores| -> Vec<Vec<u64>> {
        let bits = |row: &Row| row.values.iter().map(|v| v.to_bits()).collect();
        scores.rows.iter().map(bits).collect()
    };
    assert!(read.rows[0].values[1].is_nan());
    assert_eq!(bits(&read)[1..], bits(&table)[1..]);
    assert_eq!(read.columns, table.columns);
    for (got, expected) in read.rows.iter().zip(&table.rows) {
        let texts = |row: &Row| Row { values: Vec::new(), ..row.clone() };
        assert_eq!(texts(got), texts(expected));
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text.lines().next().unwrap(),
        "image_id,file_name,patient,part,field:device,dice,hd95"
    );
    assert_eq!(read.without_patient(), 1);
    let patients = read.patients();
    assert_eq!(patients[0], patients[1]);
    assert_ne!(patients[1], patients[2]);
}

#[test]
fn a_classification_gives_indices_and_probabilities() {
    let text = "image_id,file_name,patient,label,predicted,p:benign,p:malignant\n\
                1,a.png,x,malignant,benign,0.75,0.25\n";
    let scores = Scores::from_csv(text.as_bytes()).unwrap();
    assert_eq!(scores.to_csv().unwrap(), text.as_bytes());
    let all = scores.classified().unwrap();
    assert_eq!((all.labels[0], all.predicted[0]), (1, 0));
    assert_eq!(all.categories, ["benign", "malignant"]);
    assert_eq!(all.probabilities, [[0.75, 0.25]]);
    for (from, to, part) in [
        ("x,malignant", "x,cyst", "label \"cyst\" is not among benign, malignant"),
        ("0.75", "1.75", "in [0, 1], got 1.75"),
        ("0.75", "", "in [0, 1], got NaN"),
    ] {
        let wrong = Scores::from_csv(text.replace(from, to).as_bytes()).unwrap();
        let error = wrong.classified().unwrap_err().to_string();
        assert!(error.contains("image 1") && error.contains(part), "{error}");
    }
    assert!(table().classified().unwrap_err().to_string().contains("p:CATEGORY"));
}

#[test]
fn faults_name_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let head = "image_id,file_name,patient,dice\n";
    for (text, parts) in [
        (format!("{head}1,a,p,0.5\n2,b,p,good\n"), ["line 3", "column dice", "\"good\""]),
        (format!("{head}1,a,p,inf\n"), ["line 2", "dice of image 1", "infinite"]),
        (format!("{head}1,a,p,0.5\n1,b,p,0.5\n"), ["line 3", "image 1", "line 2"]),
        (format!("{head}1,a,p\n"), ["line", "2", "3 fields"]),
        (format!("{head},a,p,1\n"), ["line 2", "image_id", ""]),
        ("image_id,file_name,dice\n".to_owned(), ["line 1", "\"patient\"", "begins with"]),
        (head.replace("dice", "image_id"), ["line 1", "\"image_id\"", "twice"]),
        (head.replace("dice", ""), ["line 1", "column 4", "no name"]),
    ] {
        let path = folder.path().join("scores.csv");
        std::fs::write(&path, &text).unwrap();
        let error = Scores::read(&path).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 3);
        let error = error.to_string();
        assert!(error.contains("scores.csv"), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
    }
    let absent = Scores::read(&folder.path().join("none.csv")).unwrap_err().to_string();
    assert!(absent.contains("none.csv") && absent.contains("cannot be read"), "{absent}");
}

#[test]
fn a_table_that_could_not_be_read_back_is_not_written() {
    for (column, part) in
        [("patient", "cannot be called"), ("field:a", "cannot be called"), ("", "cannot")]
    {
        let scores = Scores { columns: columns(&[column]), rows: Vec::new() };
        assert!(scores.to_csv().unwrap_err().to_string().contains(part));
    }
    let twice = Scores { columns: columns(&["a", "a"]), rows: Vec::new() };
    assert!(twice.to_csv().unwrap_err().to_string().contains("two scores"));
    let mut short = table();
    short.rows[1].values.pop();
    let error = short.to_csv().unwrap_err().to_string();
    assert!(error.contains("row 2") && error.contains("1 value, expected 2"), "{error}");
}

#[test]
fn rows_follow_the_first_model_and_differences_are_refused() {
    let first = table();
    let mut second = table();
    second.rows.reverse();
    let aligned = align(&[("a", &first), ("b", &second)]).unwrap();
    let ids = |scores: &Scores| -> Vec<String> {
        scores.rows.iter().map(|row| row.image_id.clone()).collect()
    };
    assert_eq!(ids(&aligned[1]), ["1", "2", "3"]);
    assert_eq!(aligned[1].column("dice").unwrap(), first.column("dice").unwrap());
    assert!(first.column("iou").unwrap_err().to_string().contains("dice, hd95"));

    let refused = |change: fn(&mut Scores), part: &str| {
        let mut second = table();
        change(&mut second);
        let error = align(&[("a", &first), ("b", &second)]).unwrap_err().to_string();
        assert!(error.contains("\"b\" and \"a\"") && error.contains(part), "{error}");
    };
    refused(|t| drop(t.rows.pop()), "lacks 1 row (\"lesion\" of image 3)");
    refused(|t| t.rows.push(row("9", "p", &[0.0, 0.0])), "has 1 row that the second lacks");
    refused(|t| t.rows[0].patient = "p2".to_owned(), "the patient of image 1 is \"p2\"");
    refused(|t| t.rows[0].label = "cyst".to_owned(), "the label of image 1");
    refused(|t| t.rows[0].fields.clear(), "device of image 1 is \"\"");
    assert!(align(&[]).is_err());
}
