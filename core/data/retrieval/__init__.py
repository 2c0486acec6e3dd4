"""Documents that a model is asked with: cut into chunks, indexed, and searched for those that bear on a question.

    index = retrieval.build(Settings(documents=("manuals",)), home)
    index.search("How tall is the tent?", 3)  ->  [Hit(chunk, score), …], best first

An index is kept in the home, by the content of the documents and by how they are cut and searched.
"""

from finetop.core.data.retrieval.chunks import Chunk
from finetop.core.data.retrieval.index import Hit, Index, Settings, build

__all__ = ["Chunk", "Hit", "Index", "Settings", "build"]
