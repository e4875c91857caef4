"""What one view of the page needs, out of a moment: a module for each view, all of them pure.

terms        what is looked at, how bad something is, a page of a list
head         what stands above every view
nodes, queues, sessions, events, flow_map, planner
"""
