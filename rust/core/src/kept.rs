//! What was made of a text, kept by that text: the same configuration comes again and again, and to read it costs more than to find it here.

use std::sync::{Arc, Mutex};

/// How many of a kind a process keeps, and how long their texts may be: hostile ones must not fill the memory.
const COUNT: usize = 16;
const LONGEST: usize = 256 << 10;

pub struct Kept<T>(Mutex<Vec<Entry<T>>>);

struct Entry<T> {
    text: Box<[u8]>,
    value: Arc<T>,
}

impl<T> Kept<T> {
    pub const fn new() -> Self {
        Kept(Mutex::new(Vec::new()))
    }

    /// What `make` made of the text when it came first. An error is not kept.
    pub fn get<E>(&self, text: &[u8], make: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<Arc<T>, E> {
        // Never waited for: a child that was forked while somebody held it would wait for ever.
        if let Some(known) = self.0.try_lock().ok().as_ref().and_then(|all| all.iter().find(|entry| *entry.text == *text)) {
            return Ok(Arc::clone(&known.value));
        }
        let made = Arc::new(make(text)?);
        if let (Ok(mut all), true) = (self.0.try_lock(), text.len() <= LONGEST) {
            if all.len() == COUNT {
                all.remove(0);
            }
            all.push(Entry { text: text.into(), value: Arc::clone(&made) });
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_once_and_the_oldest_of_many_goes() {
        let kept = Kept::new();
        let read = |text: &[u8]| kept.get(text, |text| Ok::<_, ()>(text.len())).unwrap();
        let first = read(b"0");
        assert!(Arc::ptr_eq(&first, &read(b"0")));
        for number in 1..=COUNT {
            read(&vec![b'1'; number]);
        }
        assert!(!Arc::ptr_eq(&first, &read(b"0")));
    }

    #[test]
    fn neither_an_error_nor_a_long_text_is_kept() {
        let kept = Kept::new();
        assert_eq!(kept.get(b"text", |_| Err(1)), Err(1));
        assert_eq!(kept.get(b"text", |_| Ok::<_, ()>(2)), Ok(Arc::new(2)));
        let long = vec![0; LONGEST + 1];
        let read = || kept.get(&long, |_| Ok::<_, ()>(3)).unwrap();
        assert!(!Arc::ptr_eq(&read(), &read()));
    }
}
