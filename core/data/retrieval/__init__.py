"""Documents for prompts: cut into chunks, indexed, and searched for those relevant to a question.

    index = retrieval.build(Settings(documents=("manuals",)), home)
    index.search("How tall is the tent?", 3)  ->  [Hit(chunk, score), …], best first

An index is kept in the home, keyed by the documents' content and the settings of cutting and searching.
"""

from finetop.core.data.retrieval.chunks import Chunk
from finetop.core.data.retrieval.index import Hit, Index, Settings, build

__all__ = ["Chunk", "Hit", "Index", "Settings", "build"]
