# %% [markdown] tags=["course-header"]
# # Vision-language models, from attention to LLaVA
#
# Each lesson is a notebook that runs from top to bottom on two CPU cores with no network, and larger on a GPU. Whatever
# is named after a published system is that system in a small configuration: given the published weights, it gives the
# published outputs.
#
# **How to work here.** Open a lesson below. Read a cell, say what you expect, then run it with Shift and Enter. Change
# numbers, break things, run again; *Kernel, Restart Kernel and Run All Cells* brings everything back. Then do the
# lesson's exercises: each answer is checked at once, and hints unfold one by one.

# %% [markdown]
# ## Is everything in place?
#
# This checks that the course is installed and that the data and checkpoints it brings are whole.

# %%
from course_lib.authoring.doctor import check

print(check())

# %% [markdown]
# ## The lessons
#
# Linked are those that exist today.

# %% [markdown] tags=["course-lessons"]
# (The builder puts the table of lessons here.)

# %% [markdown]
# In a terminal, `make run LESSON=06` runs a lesson without a browser, and `course doctor` shows what is installed here
# beside what Colab has.
