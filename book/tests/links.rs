//! Every link inside the built book leads to a page, and to a place on it.
use super::{BOOK, assert_none, below, lessons};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The values of an attribute in HTML that a program wrote.
fn values<'a>(html: &'a str, attribute: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {attribute}=\"");
    let parts: Vec<&str> = html.split(&begin).skip(1).collect();
    parts.into_iter().filter_map(|rest| rest.split('"').next())
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part.as_os_str().to_str() {
            Some("..") => _ = plain.pop(),
            Some(".") => {}
            _ => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_to_a_place_on_a_page() {
    let book = BOOK.0.path();
    let mut pages: BTreeMap<PathBuf, String> = BTreeMap::new();
    for file in below(book, ".html") {
        let text = fs::read_to_string(&file).unwrap();
        pages.insert(file, text);
    }
    let places: BTreeMap<&PathBuf, BTreeSet<&str>> =
        pages.iter().map(|(file, html)| (file, values(html, "id").collect())).collect();
    let mut wrong = vec![];
    let mut links = 0;
    for (file, html) in &pages {
        let own = file.strip_prefix(book).unwrap();
        // Its links are relative to the root of a site.
        if own == Path::new("404.html") {
            continue;
        }
        for link in values(html, "href").chain(values(html, "src")) {
            if link.contains("://") || link.starts_with("mailto:") || link.starts_with("data:") {
                continue;
            }
            links += 1;
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            // The build says which chapters are missing.
            if BOOK.1.unwritten.iter().any(|page| path == page.replace(".md", ".html")) {
                continue;
            }
            if path.ends_with("player/index.html") {
                // It has its own tests. It plays every lesson.
                if !place.is_empty() && !lessons().contains(place) {
                    wrong.push(format!("{}: {link}", own.display()));
                }
                continue;
            }
            let target = match path {
                "" => file.clone(),
                path => plain(&file.parent().unwrap().join(path)),
            };
            if !target.starts_with(book) || !target.exists() {
                wrong.push(format!("{}: {link}", own.display()));
            } else if !place.is_empty()
                && !places.get(&target).is_some_and(|places| places.contains(place))
            {
                wrong.push(format!("{}: {link}: the page has no such place", own.display()));
            }
        }
    }
    assert!(links > 100, "only {links} links were found");
    assert_none(&wrong);
}

#[test]
fn nothing_is_fetched_from_the_network() {
    let mut wrong = vec![];
    for file in below(BOOK.0.path(), ".html") {
        let html = fs::read_to_string(&file).unwrap();
        for tag in ["<script", "<link", "<img", "<iframe", "<source"] {
            for rest in html.split(tag).skip(1) {
                let tag = rest.split('>').next().unwrap_or_default();
                if tag.contains("//") {
                    wrong.push(format!("{}: {tag}", file.display()));
                }
            }
        }
    }
    for file in below(BOOK.0.path(), ".css") {
        let css = fs::read_to_string(&file).unwrap();
        let urls = css.split("url(").skip(1).filter_map(|rest| rest.split(')').next());
        for url in urls.filter(|url| url.contains("//") && !url.contains("data:")) {
            wrong.push(format!("{}: {url}", file.display()));
        }
    }
    assert_none(&wrong);
}
