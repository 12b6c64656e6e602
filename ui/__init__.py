"""What pages are made of: generated forms, charts, live parts, wording. Imports Streamlit; decides nothing."""
