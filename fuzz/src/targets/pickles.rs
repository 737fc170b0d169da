//! The stack machine of pickles, without what is made of its graph.

use sonotune_base::pickle::Machine;

pub fn pickle(bytes: &[u8]) {
    for run in [Machine::run, Machine::run_leaving_bytes] {
        let Ok((graph, root, read)) = run(bytes) else { continue };
        assert!(read <= bytes.len() as u64 && root < graph.len());
        for id in 0..graph.len() {
            let _ = (graph.str(id), graph.int(id), graph.global(id), graph.call(id));
            let _ = (graph.items(id), graph.pairs(id), graph.get(id, "state_dict"));
        }
    }
}
