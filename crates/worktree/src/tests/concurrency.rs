use super::*;

#[test]
fn twenty_threads_have_one_worktree_each() {
    for _ in 0..2 {
        let (_dir, path, trees) = repository();
        std::thread::scope(|scope| {
            for n in 0..20 {
                let trees = &trees;
                scope.spawn(move || {
                    let tree = trees.take(&format!("t{n:02}")).unwrap();
                    write(tree.path(), "a.txt", &n.to_string());
                    assert_eq!(tree.commit(&format!("work {n}")).unwrap().unwrap().files, 1);
                });
            }
        });
        let states: Vec<State> = trees.list().unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(states.len(), 20);
        for (n, state) in states.iter().enumerate() {
            assert_eq!(
                git(&path, &format!("log -1 --format=%s rungs/t{n:02}")),
                format!("work {n}")
            );
            assert_eq!(git(&path, &format!("show rungs/t{n:02}:a.txt")), n.to_string());
            assert_eq!((state.ahead, state.losses.work.len()), (1, 0));
        }
        std::thread::scope(|scope| {
            for n in 0..20 {
                let trees = &trees;
                scope.spawn(move || trees.remove(&format!("t{n:02}"), true).unwrap());
            }
        });
        assert_eq!(git(&path, "worktree list").lines().count(), 1);
        assert_eq!(git(&path, "branch --list rungs/*").lines().count(), 20);
        assert_intact(&path);
    }
}

#[test]
fn one_of_sixteen_threads_gets_the_same_worktree() {
    let (_dir, path, trees) = repository();
    let taken: Vec<Result<Tree, Error>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..16).map(|_| scope.spawn(|| trees.take("1"))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(taken.iter().filter(|tree| tree.is_ok()).count(), 1);
    assert_eq!(taken.iter().filter(|tree| matches!(tree, Err(Error::InUse(_)))).count(), 15);
    assert_intact(&path);
}
